"""A configuration on its way to the children: resolved once, by the supervisor, so that all of them read the same."""

from __future__ import annotations

import os

import msgspec

from shardproxy.config.plain import decode, encode
from shardproxy.config.schema import Config
from shardproxy.shm.layout import Capacities
from shardproxy.shm.slots import SlotKind, Slots


class UnreadablePlan(Exception):
    """The descriptor does not hold a plan of this version; `str()` is a plain sentence."""


class _Page(msgspec.Struct, frozen=True):
    version: int
    config: bytes
    names: dict[SlotKind, tuple[str, ...]]


class Plan(msgspec.Struct, frozen=True):
    """Configuration number `version`, and the slots of everything that it counts."""

    version: int
    config: Config
    slots: Slots

    def write(self) -> int:
        """A memfd that holds it; the caller closes it.  Raises `OSError`."""
        page = _Page(self.version, encode(self.config), self.slots.in_order())
        fd = os.memfd_create("shardproxy-plan", os.MFD_CLOEXEC)
        try:
            _write_all(fd, msgspec.msgpack.encode(page))
        except OSError:
            os.close(fd)
            raise
        return fd

    @classmethod
    def read(cls, fd: int, capacities: Capacities) -> Plan:
        """What `write` has written, wherever the descriptor stands; its slots are sealed.  Raises `UnreadablePlan`."""
        try:
            data = os.pread(fd, os.fstat(fd).st_size, 0)
            page = msgspec.msgpack.decode(data, type=_Page)
            config = decode(page.config)
        except (OSError, ValueError) as error:
            raise UnreadablePlan(f"the configuration cannot be taken over: {error}") from None
        slots = Slots.restored(capacities, page.names)
        slots.seal()
        return cls(page.version, config, slots)


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
