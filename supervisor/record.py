"""What must survive a re-execution, as one memfd: descriptors by number, children by pid, the configuration as bytes.

Written by the old code and read by the new one, so it holds plain data, and no field is ever given another meaning.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import msgspec

from shardproxy.config.units import parse_address
from shardproxy.control.channel import Channel
from shardproxy.control.seat import SeatKind
from shardproxy.shm.slots import SlotKind, Span
from shardproxy.supervisor.requests import RequestRecord
from shardproxy.supervisor.sockets import Inherited
from shardproxy.supervisor.state import Child, Household, Post

_ENVIRONMENT = "SHARDPROXY_RECORD"


class ChildRecord(msgspec.Struct, frozen=True):
    """One process; `is_current` says that it serves, and does not drain already."""

    kind: SeatKind
    index: int
    pid: int
    row: int
    channel: int
    born_ns: int
    generation: int
    is_current: bool


class Record(msgspec.Struct, frozen=True):
    """`config` is to be served next, `former_config` is being served by `workers` workers; `asker` and `other_askers`
    (pid and id) are to be told of the outcome.  `edited` are the clusters whose endpoints in `former_config` are not
    those of the file.  `waiting` are the operations to do after this one, and `signals` have arrived (a byte each)
    without having been acted on."""

    pid: int
    generation: int
    version: int
    path: str | None
    config: bytes
    former_config: bytes
    names: dict[SlotKind, tuple[str, ...]]
    segment: int
    sockets: list[tuple[str, list[int]]]
    children: list[ChildRecord]
    workers: int
    asker: tuple[int, int] | None
    bells: tuple[int, ...] = ()
    edited: tuple[str, ...] = ()
    spans: dict[SlotKind, dict[str, Span]] = {}
    other_askers: tuple[tuple[int, int], ...] = ()
    waiting: tuple[RequestRecord, ...] = ()
    signals: bytes = b""

    def askers(self) -> tuple[tuple[int, int], ...]:
        """All who are to be told of the outcome."""
        return ((self.asker,) if self.asker is not None else ()) + self.other_askers

    def descriptors(self) -> Iterator[int]:
        """All that must stay open."""
        yield self.segment
        yield from self.bells
        for _, sockets in self.sockets:
            yield from sockets
        yield from (child.channel for child in self.children)

    def inherited(self) -> Inherited:
        """The sockets, alive again."""
        return {
            parse_address(address): [socket.socket(fileno=fd) for fd in descriptors]
            for address, descriptors in self.sockets
        }


def child_record(post: Post, child: Child, *, is_current: bool) -> ChildRecord:
    fd = child.channel.fileno()
    return ChildRecord(post.kind, post.index, child.pid, child.row, fd, child.born_ns, child.generation, is_current)


def children_of(home: Household) -> list[ChildRecord]:
    """Those that can still be spoken with."""
    return [
        child_record(post, child, is_current=post in home.posts)
        for post, child in home.filled()
        if child.channel.fileno() >= 0
    ]


def sockets_of(home: Household) -> list[tuple[str, list[int]]]:
    return [(str(address), [one.fileno() for one in sockets]) for address, sockets in home.sockets.by_address()]


def channel_of(child: ChildRecord) -> Channel:
    return Channel(socket.socket(fileno=child.channel))


def leave_behind(record: Record) -> int:
    """A memfd with the record, inheritable like all that it names; the environment says where it is."""
    fd = os.memfd_create("shardproxy-record", 0)
    os.write(fd, msgspec.msgpack.encode(record))
    for each in record.descriptors():
        os.set_inheritable(each, True)
    os.environ[_ENVIRONMENT] = str(fd)
    return fd


def take_back(record: Record, fd: int) -> None:
    """The re-execution has not taken place: undo `leave_behind`."""
    os.environ.pop(_ENVIRONMENT, None)
    for each in record.descriptors():
        os.set_inheritable(each, False)
    os.close(fd)


def is_left_behind() -> bool:
    """Whether our predecessor in this process has left a record."""
    return _ENVIRONMENT in os.environ


def find() -> Record:
    """What our predecessor has left behind.  Only once."""
    fd = int(os.environ.pop(_ENVIRONMENT))
    record = msgspec.msgpack.decode(os.pread(fd, os.fstat(fd).st_size, 0), type=Record)
    os.close(fd)
    for each in record.descriptors():
        os.set_inheritable(each, False)
    return record
