"""All listening sockets: bound before the first fork, kept open by the supervisor for as long as it serves.

Every worker has a SO_REUSEPORT socket of its own for each TCP listener.  Because the supervisor holds it too, the queue
of a worker that dies stays, and its successor accepts what arrived meanwhile.  A Unix listener is one socket that all
workers share, since the kernel has no SO_REUSEPORT for those.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from shardproxy.config.schema import Config
from shardproxy.config.units import Address

# The kernel cuts it to net.core.somaxconn (4096 since Linux 5.4).
BACKLOG = 4096

# A port may still be held for a moment by the orphans of a supervisor that was killed.
# nginx tries five times, 500 ms apart.
PATIENCE_S = 1.0
RETRY_S = 0.05

logger = logging.getLogger(__name__)


class BindError(Exception):
    """A listener's socket cannot be had; `str()` is a plain sentence that names the listener and its address."""


class Sockets:
    """The sockets of one configuration; index = worker.  Raises `BindError`, and then nothing is left open."""

    def __init__(self, config: Config, workers: int) -> None:
        self._of_worker: list[dict[str, socket.socket]] = [{} for _ in range(workers)]
        self._files: list[tuple[Path, int]] = []
        self._open: list[socket.socket] = []
        try:
            self.admin = self._bind("the admin interface", config.admin.bind, 1)[0]
            for listener in config.listeners:
                group = self._bind(f"listener {listener.name}", listener.bind, workers)
                for mine, bound in zip(self._of_worker, group, strict=True):
                    mine[listener.name] = bound
        except BindError:
            self.close()
            raise

    def of_worker(self, index: int) -> Mapping[str, socket.socket]:
        """The sockets of one worker by the listener's name."""
        return self._of_worker[index]

    def keep_only(self, mine: Mapping[str, socket.socket]) -> None:
        """In a child: close all sockets but `mine`.  Files stay, they belong to the supervisor."""
        kept = {id(one) for one in mine.values()}
        for one in self._open:
            if id(one) not in kept:
                one.close()

    def close_workers(self) -> None:
        """Leave the workers' sockets to the workers: each really closes when its worker closes it."""
        for group in self._of_worker:
            for one in group.values():
                one.close()

    def close(self) -> None:
        """Close everything and remove the files of the Unix sockets, unless somebody else has put another there."""
        for one in self._open:
            one.close()
        for path, inode in self._files:
            with suppress(OSError):
                if path.lstat().st_ino == inode:
                    path.unlink()
        self._files.clear()

    def _bind(self, what: str, address: Address, count: int) -> list[socket.socket]:
        try:
            group = [_bind_unix(Path(address.path))] * count if address.is_unix else _bind_tcp(address, count)
        except OSError as error:
            raise BindError(f"{what} cannot listen on {address}: {_reason(error)}") from None
        self._open += group
        if address.is_unix:
            self._files.append((Path(address.path), Path(address.path).lstat().st_ino))
        return group


def _bind_tcp(address: Address, count: int) -> list[socket.socket]:
    _wait_until_free(address)
    group: list[socket.socket] = []
    try:
        for _ in range(count):
            one = _tcp_socket(address)
            group.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind((address.host, address.port))
        for one in group:
            one.listen(BACKLOG)
    except OSError:
        for one in group:
            one.close()
        raise
    return group


def _wait_until_free(address: Address) -> None:
    """With SO_REUSEPORT alone we would share the port, and its traffic, with whoever has it: so try without."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        with _tcp_socket(address) as probe:
            try:
                return probe.bind((address.host, address.port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > give_up:
                    raise
        time.sleep(RETRY_S)


def _tcp_socket(address: Address) -> socket.socket:
    one = socket.socket(socket.AF_INET6 if address.is_ipv6 else socket.AF_INET, socket.SOCK_STREAM)
    one.setblocking(False)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if address.is_ipv6:
        # [::]:80 beside 0.0.0.0:80 are two listeners, as with nginx.
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return one


def _bind_unix(path: Path) -> socket.socket:
    _remove_stale(path)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        one.bind(str(path))
        one.listen(BACKLOG)
    except OSError:
        one.close()
        raise
    return one


def _remove_stale(path: Path) -> None:
    """Remove the socket file of a process that is no more; raises `OSError` if something else has the path."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "a file that is not a socket is in the way")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PATIENCE_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            logger.info("removed %s, which a process that is gone has left behind", path)
            return
    raise OSError(errno.EADDRINUSE, "")


def _reason(error: OSError) -> str:
    plain = {
        errno.EADDRINUSE: "another process is listening there",
        errno.EADDRNOTAVAIL: "this machine does not have that address",
        errno.EACCES: "this user is not permitted to",
    }
    return plain.get(error.errno or 0) or error.strerror or os.strerror(error.errno or 0)
