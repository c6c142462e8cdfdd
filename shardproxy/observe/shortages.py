"""Resources that this process lacks (descriptors, local ports, memory): what failed, why, and what to do about it.

    accept failed 37 times: all 1024 descriptors that RLIMIT_NOFILE allows are in use; raise LimitNOFILE= of the systemd
    unit, or `ulimit -n`; clients wait in the accept queue, and the worker accepts again in 0.1 s

One line a second at most, for all of them together.  To say it needs no descriptor, and little memory.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from shardproxy.observe.rate_limit import LogRateLimit

PERIOD_S = 1.0
MOST_KINDS = 4  # of failures in one line; the others are only counted
PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")

CONSEQUENCES = {
    "accept": "clients wait in the accept queue, and the worker accepts again in 0.1 s",
    "connect": "requests that need a new connection to it get 503 no_resources",
    "watch": "what it was needed for ends, or is tried again",
}
WORDS = {"connect": "connect to", "watch": "epoll_ctl for"}  # before a subject

logger = logging.getLogger(__name__)


class Shortages:
    """What has failed since the last line, and how often."""

    def __init__(self, limit: LogRateLimit) -> None:
        self._limit = limit
        self._failures: dict[tuple[str, str, int], int] = {}

    def note(self, action: str, error: int, subject: str = "") -> None:
        """`action` (a key of CONSEQUENCES) has failed on `subject` with the number `error`.  Never raises."""
        with suppress(MemoryError):
            key = action, subject, error
            self._failures[key] = self._failures.get(key, 0) + 1
            if self._limit.note():
                self._say()

    def tell(self) -> None:
        """Say what has not been said yet, if a line is due; to be called now and then."""
        if self._failures:
            with suppress(MemoryError):
                if self._limit.take():
                    self._say()

    def _say(self) -> None:
        failures, self._failures = self._failures, {}
        said = [describe(*key, count) for key, count in list(failures.items())[:MOST_KINDS]]
        if len(failures) > MOST_KINDS:
            said.append(f"{len(failures) - MOST_KINDS} other kinds of failures are not listed")
        logger.error("%s", "; also ".join(said))


def describe(action: str, subject: str, error: int, count: int) -> str:
    """`connect to 10.0.0.1:80 failed 3 times: REASON; WHAT TO DO; WHAT HAPPENS NEXT`."""
    times = "once" if count == 1 else f"{count} times"
    what = f"{WORDS[action]} {subject}" if subject else action
    return f"{what} failed {times}: {reason(error)}; {CONSEQUENCES[action]}"


def reason(error: int) -> str:
    find = REASONS.get(error)
    return os.strerror(error) if find is None else find()


def _descriptors() -> str:
    return (
        f"all {descriptor_limit()} descriptors that RLIMIT_NOFILE allows are in use; raise LimitNOFILE= of the systemd "
        "unit, or `ulimit -n`, or lower max_connections"
    )


def _files() -> str:
    return "as many files are open on this machine as fs.file-max allows; raise it by sysctl"


def _ports() -> str:
    try:
        first, last = PORT_RANGE.read_text().split()
        ports = f"{first} to {last}"
    except (OSError, ValueError):
        ports = "unknown"
    return (
        f"all local ports are in use (net.ipv4.ip_local_port_range: {ports}), or this machine has no address of that "
        "family; keep more idle connections (keepalive.max_idle), or widen the range by sysctl"
    )


def _memory() -> str:
    resident_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return (
        f"the kernel has no memory for it, while this process has used {resident_mib} MiB at most; raise MemoryMax= of "
        "the systemd unit, or net.ipv4.tcp_mem, or lower max_connections"
    )


def _watches() -> str:
    return "this user's epoll sets have as many descriptors as fs.epoll.max_user_watches allows; raise it by sysctl"


REASONS: dict[int, Callable[[], str]] = {
    errno.EMFILE: _descriptors,
    errno.ENFILE: _files,
    errno.EADDRNOTAVAIL: _ports,
    errno.EADDRINUSE: _ports,
    errno.EAGAIN: _ports,  # of TCP, as HAProxy has it; that of a Unix socket is the endpoint's
    errno.ENOBUFS: _memory,
    errno.ENOMEM: _memory,
    errno.ENOSPC: _watches,
}


def is_shortage(error: int | None, *, is_unix: bool = False) -> bool:
    """Whether a call that failed with this number failed for want of something of our own, not because of the peer.

    `is_unix`: it was `connect` on a Unix socket, where EAGAIN says that the backlog of the peer is full (connect(2)).
    """
    return error in REASONS and not (is_unix and error == errno.EAGAIN)


def descriptor_limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


_of_this_process = Shortages(LogRateLimit(PERIOD_S))
note, tell = _of_this_process.note, _of_this_process.tell
