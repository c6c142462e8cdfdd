"""The other end of $NOTIFY_SOCKET, and things to send there."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from shardproxy.config.units import Address


class Datagram(NamedTuple):
    text: str
    descriptors: list[int]

    @property
    def words(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.text.splitlines())


class Listening:
    """The manager's end of $NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(5)

    def take(self) -> Datagram:
        data, descriptors, _, _ = socket.recv_fds(self.socket, 8192, 8)
        return Datagram(data.decode(), descriptors)

    def has_nothing(self) -> bool:
        self.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            self.socket.recv(1)
        self.socket.settimeout(5)
        return True


@contextmanager
def memory() -> Iterator[int]:
    fd = os.memfd_create("test")
    yield fd
    os.close(fd)


def listener(*, shares_port: bool = False, port: int = 0) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shares_port)
    one.bind(("127.0.0.1", port))
    one.listen()
    return one


def address_of(one: socket.socket) -> Address:
    return Address(*one.getsockname())


def stored(heard: Listening) -> list[str]:
    """`+name` and `-name`, as they come until there is nothing more; all descriptors closed."""
    seen: list[str] = []
    heard.socket.setblocking(False)
    while True:
        try:
            datagram = heard.take()
        except BlockingIOError:
            return seen
        for fd in datagram.descriptors:
            os.close(fd)
        if "FDNAME" in datagram.words:
            seen.append(("+" if "FDSTORE" in datagram.words else "-") + datagram.words["FDNAME"])
