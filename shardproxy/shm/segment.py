"""The segment: create it, attach to one that another process made, refuse a foreign one."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator

import msgspec

from shardproxy.shm import layout
from shardproxy.shm.layout import Capacities, Section, Sections
from shardproxy.shm.mapping import Mapping

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class ForeignLayout(Exception):
    """The descriptor is not a segment that this version can share. `str()` is the reason, a plain sentence."""


class Segment:
    """One memfd, mapped and shared: whatever a process writes, all others see.

    Made by `create` or `attach`. It is inherited over fork as it is. What is built on it (`Gauges`, `Metrics` ...)
    keeps the mapping alive on its own, so `close` is safe at any time.
    """

    def __init__(self, fd: int, capacities: Capacities, secret: bytes) -> None:
        self.fd = fd
        self.capacities = capacities
        self.secret = secret
        self.sections: Sections = layout.sections(capacities)
        self._memory: memoryview | None = memoryview(Mapping(fd, self.sections.size))

    def __repr__(self) -> str:
        if self._memory is None:
            return "<Segment closed>"
        return f"<Segment fd={self.fd} rows={self.rows_used}/{self.capacities.rows} size={self.sections.size}>"

    @classmethod
    def create(cls, capacities: Capacities) -> Segment:
        """A new segment, all zero, with a fresh secret. Raises `OSError` when the system refuses."""
        size, secret = layout.sections(capacities).size, os.urandom(layout.SECRET_BYTES)
        numbers = msgspec.structs.astuple(capacities)
        fd = os.memfd_create("shardproxy", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, size)
            os.pwrite(fd, layout.HEADER.pack(layout.MAGIC, layout.LAYOUT_VERSION, *numbers, size, secret), 0)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            segment = cls(fd, capacities, secret)
        except BaseException:
            os.close(fd)
            raise
        segment.rows_used = 1
        return segment

    @classmethod
    def attach(cls, fd: int, expected: Capacities | None = None) -> Segment:
        """The segment that another process made. It owns `fd` from then on, but not when it refuses.

        Raises `ForeignLayout` when it is no segment, of another layout version, damaged, could shrink, or does not
        have the `expected` capacities (default: whatever it has).
        """
        _check_sealed(fd)
        capacities, secret = _read_header(fd)
        if expected is not None and capacities != expected:
            raise ForeignLayout(f"the segment has room for {_words(capacities)}, but {_words(expected)} are asked for")
        return cls(fd, capacities, secret)

    @property
    def memory(self) -> memoryview:
        """All of it. Raises `ValueError` once it is closed."""
        if self._memory is None:
            raise ValueError("the segment is closed")
        return self._memory

    @property
    def rows_used(self) -> int:
        """The highest row in use plus one; sums of gauges go over that many rows. Written by the supervisor only.

        It must be raised before the process of a new row starts to count.
        """
        return self._header_cell(layout.ROWS_USED_OFFSET)[0]

    @rows_used.setter
    def rows_used(self, rows: int) -> None:
        if not 0 < rows <= self.capacities.rows:
            raise ValueError(f"rows_used must be from 1 to {self.capacities.rows}, not {rows}")
        if rows > self.rows_counted:
            self._header_cell(layout.ROWS_COUNTED_OFFSET)[0] = rows
        self._header_cell(layout.ROWS_USED_OFFSET)[0] = rows

    @property
    def rows_counted(self) -> int:
        """The highest that `rows_used` ever was; sums of counters go over that many rows.

        It never falls, because what a dead process has counted stays where it is.
        """
        return self._header_cell(layout.ROWS_COUNTED_OFFSET)[0]

    @property
    def workers_wanted(self) -> int:
        """How many workers there are to be; written by the supervisor only."""
        return self._header_cell(layout.WORKERS_WANTED_OFFSET)[0]

    @workers_wanted.setter
    def workers_wanted(self, workers: int) -> None:
        self._header_cell(layout.WORKERS_WANTED_OFFSET)[0] = workers

    def part(self, section: Section) -> memoryview:
        """The bytes of one of `sections`. Keep the view for as long as its address is used."""
        return self.memory[section.offset : section.end]

    def touched(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The ranges from `start` to `end` (bytes) that have memory behind them; all else is zero.

        Reading an untouched page of a memfd would allocate it, and most of the segment is never touched.
        """
        while start < end:
            try:
                first = os.lseek(self.fd, start, os.SEEK_DATA)
            except OSError:  # ENXIO: nothing but holes from here on
                return
            start = min(os.lseek(self.fd, first, os.SEEK_HOLE), end)
            if first < start:
                yield first, start

    def close(self) -> None:
        """Give up the descriptor and this object's hold on the mapping. Does nothing the second time."""
        if self._memory is not None:
            self._memory = None
            os.close(self.fd)

    def _header_cell(self, offset: int) -> memoryview:
        return self.memory[offset : offset + 4].cast("I")


def _check_sealed(fd: int) -> None:
    """A segment that can shrink would end its readers with SIGBUS."""
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError as error:
        raise ForeignLayout(f"descriptor {fd} is not shared memory: {os.strerror(error.errno or 0)}") from None
    if not seals & fcntl.F_SEAL_SHRINK:
        raise ForeignLayout(f"descriptor {fd} is shared memory that can still shrink, so shardproxy did not make it")


def _read_header(fd: int) -> tuple[Capacities, bytes]:
    head = os.pread(fd, layout.HEADER.size, 0)
    if len(head) < layout.HEADER.size or not head.startswith(layout.MAGIC):
        raise ForeignLayout(f"descriptor {fd} is shared memory of another program")
    _, version, *numbers, size, secret = layout.HEADER.unpack(head)
    if version != layout.LAYOUT_VERSION:
        raise ForeignLayout(f"the segment has layout version {version}, this program has {layout.LAYOUT_VERSION}")
    try:
        capacities = Capacities(*numbers)
    except ValueError as error:
        raise ForeignLayout(f"the segment is damaged: {error}") from None
    needed, present = layout.sections(capacities).size, os.fstat(fd).st_size
    if not needed == size == present:
        raise ForeignLayout(f"the segment is damaged: {_words(capacities)} take {needed} bytes, but it has {present}")
    return capacities, secret


def _words(capacities: Capacities) -> str:
    return ", ".join(f"{count} {name}" for name, count in msgspec.structs.asdict(capacities).items())
