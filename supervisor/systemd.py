"""What the supervisor and systemd tell each other: states, signs of life, and descriptors kept for a successor.

    supervisor ── datagrams to $NOTIFY_SOCKET ──────> systemd       READY=1, WATCHDOG=1, FDSTORE=1 ...: sd_notify(3)
    systemd ── $LISTEN_FDS, descriptors from 3 on ──> supervisor    at its start only: sd_listen_fds(3)

Without $NOTIFY_SOCKET nothing is sent, and nothing here ever raises: serving does not depend on systemd.
A hot restart keeps the pid, so MAINPID= is not needed, and WATCHDOG_PID stays true.
"""

from __future__ import annotations

import array
import hashlib
import ipaddress
import logging
import os
import re
import select
import socket
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

from shardproxy.config.units import Address, parse_address

# systemd reads its datagrams at once; one that does not is not waited for longer than this.
PATIENCE_S = 1.0
# systemd ignores datagrams above 4096 bytes.
MOST_STATUS = 500
MOST_NAME = 255

_FIRST_FD = 3  # SD_LISTEN_FDS_START
_LENT = "SHARDPROXY_LENT"
_LISTENER = re.compile(r"listen\.(\d{1,6})\..+", re.DOTALL)

# The sockets of one address, in the order in which they were bound.
Groups = Iterable[tuple[Address, Sequence[socket.socket]]]
# Tells two descriptors of the same socket or memory from two different ones.
_Identity = tuple[int, int]

logger = logging.getLogger(__name__)


@dataclass
class Found:
    """What systemd has passed.  All of it belongs to whoever asked, who closes what cannot be used.

    `sockets` listen, by address and in the order in which they were bound.  Those of `lent` come from a .socket unit,
    which goes on holding them: their files are not ours to remove.  `memory` is whatever else was stored, by name.
    """

    sockets: dict[Address, list[socket.socket]] = field(default_factory=dict)
    lent: frozenset[Address] = frozenset()
    memory: dict[str, int] = field(default_factory=dict)
    stored: dict[str, _Identity] = field(default_factory=dict)


class Manager:
    """The way to systemd, as the environment describes it.  `found` is what the store holds already.

    Everything returns at once, at the latest after `PATIENCE_S`; False says that it could not be delivered.
    """

    def __init__(self, found: Found | None = None) -> None:
        self._address = _notify_address()
        self._stored = dict(found.stored) if found else {}
        self.lent = _remember_lent(found.lent if found else frozenset())
        self._watchdog_ns = _watchdog_ns()
        self._due_ns = time.monotonic_ns()
        self._is_heard = True

    def __repr__(self) -> str:
        return f"<Manager {self._address or 'absent'} stored={len(self._stored)}>"

    @property
    def is_there(self) -> bool:
        return self._address is not None

    # States --------------------------------------------------------------------------------------------------------

    def ready(self, status: str) -> bool:
        """The start, or a reload, is over; also a reload that failed, or systemd would wait for ever."""
        return self._tell("READY=1", _status(status))

    def reloading(self, status: str = "reloading") -> bool:
        """From now until `ready` the configuration changes.

        Both lines must come in one datagram: Type=notify-reload takes only a RELOADING=1 that is younger than its
        signal, by the clock of CLOCK_MONOTONIC.
        """
        return self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", _status(status))

    def stopping(self, status: str, at_most_ns: int = 0) -> bool:
        """The end has begun and takes `at_most_ns`; that counts if it is longer than the unit's TimeoutStopSec."""
        extension = [f"EXTEND_TIMEOUT_USEC={at_most_ns // 1000}"] if at_most_ns else []
        return self._tell("STOPPING=1", *extension, _status(status))

    def status(self, text: str) -> bool:
        """One line for `systemctl status`."""
        return self._tell(_status(text))

    # Signs of life -------------------------------------------------------------------------------------------------

    def watchdog_due_ns(self) -> int | None:
        """When `beat` is due, CLOCK_MONOTONIC; None if nobody listens for it."""
        return self._due_ns if self._watchdog_ns else None

    def beat(self, now_ns: int) -> None:
        """A sign of life, if it is time for one: twice in each WatchdogSec, as sd_watchdog_enabled(3) advises."""
        if self._watchdog_ns and now_ns >= self._due_ns:
            is_told = self._tell("WATCHDOG=1")
            self._due_ns = now_ns + self._watchdog_ns // (2 if is_told else 8)

    # The store -----------------------------------------------------------------------------------------------------

    def store(self, name: str, fd: int) -> bool:
        """systemd keeps a copy of `fd` for whoever it starts next.  `name`: printable ASCII without a colon.

        FDPOLL=0, or it would throw a descriptor away when that reports an error or hang-up.
        """
        if not self._tell("FDSTORE=1", f"FDNAME={name}", "FDPOLL=0", descriptors=[fd]):
            return False
        self._stored[name] = _identity(fd)
        return True

    def forget(self, name: str) -> bool:
        """systemd closes its copies of that name."""
        if not self._tell("FDSTOREREMOVE=1", f"FDNAME={name}"):
            return False
        self._stored.pop(name, None)
        return True

    def keep(self, groups: Groups, memory: Mapping[str, int]) -> bool:
        """Make the store hold exactly these; what it has is not sent again, and lent sockets never are.

        To be called before `ready`, and whenever the sockets have changed; before the worker of a socket that goes lets
        go of it, or whoever connects in between waits before a socket that only systemd has, and is reset with it.
        After a hot restart the first call must be with all that the former code had: it is how a new `Manager` learns
        what the store holds.
        """
        if not self.is_there:
            return False
        wanted = {**_named(groups, self.lent), **memory}
        now = {name: _identity(fd) for name, fd in wanted.items()}
        outdated = [name for name, identity in self._stored.items() if now.get(name) != identity]
        if not all(self.forget(name) for name in outdated):
            return False
        if outdated:
            self._await_reading()
        return all(self.store(name, fd) for name, fd in wanted.items() if name not in self._stored)

    # Inside --------------------------------------------------------------------------------------------------------

    def _await_reading(self) -> None:
        """Until systemd has acted on all that it was told: then it closes its copy of a pipe's end."""
        with suppress(OSError):
            reading, writing = os.pipe()
            is_told = self._tell("BARRIER=1", descriptors=[writing])
            os.close(writing)
            end = select.poll()
            end.register(reading, select.POLLHUP)
            if is_told and not end.poll(PATIENCE_S * 1000):
                logger.warning("systemd does not act on what it is told")
            os.close(reading)

    def _tell(self, *lines: str, descriptors: Sequence[int] = ()) -> bool:
        if self._address is None:
            return False
        try:
            _send("\n".join(lines).encode(errors="replace"), descriptors, self._address)
        except OSError as error:
            if self._is_heard:
                logger.warning("systemd cannot be told %s: %s", lines[0], error.strerror or error)
            self._is_heard = False
            return False
        self._is_heard = True
        return True


# What systemd has passed -------------------------------------------------------------------------------------------


def inherited(first_fd: int = _FIRST_FD) -> Found:
    """What systemd has passed to this process, from `first_fd` on, and only the first time.

    The variables are removed, so that neither a child nor the code after a hot restart takes the same descriptors once
    more; all are closed on exec.
    """
    found = Found()
    sockets: list[tuple[int, bool, Address, socket.socket]] = []
    for name, fd in _announced(first_fd):
        index = _index(name)
        if index is not None or stat.S_ISREG(os.fstat(fd).st_mode):
            found.stored[name] = _identity(fd)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            _replace(found.memory, name, fd)
        elif one := _listening(name, fd):
            sockets.append((index or 0, index is None, *one))
    _sort(found, sockets)
    return found


def stored_name(address: Address, index: int) -> str:
    """What the socket of worker `index` at `address` is called in the store, such as `listen.0.127.0.0.1%3A80`.

    The name restores the order only: what the address is, the socket itself says best.
    """
    where = os.fsencode(str(address))
    name = f"listen.{index}.{quote(where, safe='/[]')}"
    return name if len(name) <= MOST_NAME else f"listen.{index}.{hashlib.sha256(where).hexdigest()}"


def _index(name: str) -> int | None:
    """Of a name that `stored_name` has made; None for all others."""
    match = _LISTENER.fullmatch(name)
    return int(match[1]) if match else None


def _announced(first_fd: int) -> list[tuple[str, int]]:
    """Names and descriptors, if they are for this process."""
    words = {word: os.environ.pop(f"LISTEN_{word}", "") for word in ("PID", "FDS", "FDNAMES", "PIDFDID")}
    if words["PID"] != str(os.getpid()) or not words["FDS"].isdecimal():
        return []
    names = words["FDNAMES"].split(":")
    found: list[tuple[str, int]] = []
    for number in range(int(words["FDS"])):
        try:
            os.set_inheritable(first_fd + number, False)
        except OSError:
            logger.warning("systemd has announced %s descriptors, but passed only %d", words["FDS"], number)
            break
        found.append((names[number] if number < len(names) else "unknown", first_fd + number))
    return found


def _replace(memory: dict[str, int], name: str, fd: int) -> None:
    """Of two with the same name only one can be used."""
    if name in memory:
        os.close(memory[name])
    memory[name] = fd


def _listening(name: str, fd: int) -> tuple[Address, socket.socket] | None:
    """The socket with its address; None, and closed, if connections cannot be accepted from it."""
    try:
        one = socket.socket(fileno=fd)
    except OSError:
        os.close(fd)
        logger.warning("systemd has passed %r, which is neither a socket nor memory", name)
        return None
    try:
        address = _address_of(one)
    except (OSError, ValueError) as reason:
        one.close()
        logger.warning("systemd has passed %r, which is not used: %s", name, reason)
        return None
    one.setblocking(False)
    return address, one


def _address_of(one: socket.socket) -> Address:
    """Where `one` listens.  Raises `ValueError` with the reason why nobody reaches it there."""
    if not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) or one.type != socket.SOCK_STREAM:
        raise ValueError("it is not a listening stream socket")
    where = one.getsockname()
    if one.family in (socket.AF_INET, socket.AF_INET6):
        return Address(str(ipaddress.ip_address(where[0])), where[1])
    if one.family != socket.AF_UNIX or not isinstance(where, str) or not where.startswith("/"):
        raise ValueError("it has no address that a listener could have")
    if not Path(where).is_socket():
        raise ValueError(f"its file {where} has gone")
    return Address(path=where)


def _sort(found: Found, sockets: list[tuple[int, bool, Address, socket.socket]]) -> None:
    """By address, in their order; where a .socket unit has lent one, none from the store is used."""
    found.lent = frozenset(address for _, is_lent, address, _ in sockets if is_lent)
    for _, is_lent, address, one in sorted(sockets, key=lambda each: each[0]):
        if is_lent or address not in found.lent:
            found.sockets.setdefault(address, []).append(one)
        else:
            one.close()


# What the environment says -----------------------------------------------------------------------------------------


def _notify_address() -> str | None:
    where = os.environ.get("NOTIFY_SOCKET", "")
    if where.startswith("@"):
        return "\0" + where[1:]
    return where if where.startswith("/") else None


def _watchdog_ns() -> int:
    """How long systemd waits for a sign of life of this process; 0 for ever."""
    pid, usec = os.environ.get("WATCHDOG_PID", ""), os.environ.get("WATCHDOG_USEC", "")
    is_for_us = not pid or pid == str(os.getpid())
    return int(usec) * 1000 if is_for_us and usec.isdecimal() else 0


def _remember_lent(lent: frozenset[Address]) -> frozenset[Address]:
    """`lent`, or what this process has remembered before its hot restart; for its next one."""
    pid, *words = os.environ.pop(_LENT, "").split(" ")
    if not lent and pid == str(os.getpid()):
        with suppress(ValueError):
            lent = frozenset(parse_address(unquote(word)) for word in words)
    if lent:
        os.environ[_LENT] = " ".join([str(os.getpid()), *(quote(os.fsencode(str(address))) for address in lent)])
    return lent


# The format --------------------------------------------------------------------------------------------------------


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())[:MOST_STATUS]


def _send(text: bytes, descriptors: Sequence[int], address: str) -> None:
    """Raises `OSError`; `TimeoutError` when nobody takes it."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.settimeout(PATIENCE_S)
        # Without connecting, a full queue at the other end would be polled in a busy loop.
        one.connect(address)
        one.sendmsg([text], rights)


def _identity(fd: int) -> _Identity:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _named(groups: Groups, lent: frozenset[Address]) -> dict[str, int]:
    return {
        stored_name(address, index): one.fileno()
        for address, sockets in groups
        if address not in lent
        for index, one in enumerate(sockets)
    }
