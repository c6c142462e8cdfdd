"""How an address becomes a listening socket, or why not."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
import time
from pathlib import Path

from shardproxy.config.units import Address

# The kernel cuts it to net.core.somaxconn (4096 since Linux 5.4).
BACKLOG = 4096

# A port may still be held for a moment by the orphans of a supervisor that was killed.
# nginx tries five times, 500 ms apart.
PATIENCE_S = 1.0
RETRY_S = 0.05

logger = logging.getLogger(__name__)


def bind_tcp(address: Address, count: int) -> list[socket.socket]:
    """`count` listening sockets that share the address (SO_REUSEPORT), in their order.  Raises `OSError`."""
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


def wait_until_free(address: Address) -> None:
    """With SO_REUSEPORT alone we would share the port, and its traffic, with whoever has it: so try without.

    Raises `OSError` when somebody has it for longer than a second.
    """
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


def bind_unix(path: Path) -> socket.socket:
    """A listening socket at `path`; the file that a dead process has left there is replaced.  Raises `OSError`."""
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


def why(error: OSError) -> str:
    """A few words that an operator understands."""
    plain = {
        errno.EADDRINUSE: "another process is listening there",
        errno.EADDRNOTAVAIL: "this machine does not have that address",
        errno.EACCES: "this user is not permitted to",
    }
    return plain.get(error.errno or 0) or error.strerror or os.strerror(error.errno or 0)
