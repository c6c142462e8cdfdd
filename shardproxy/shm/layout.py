"""Where everything lies in the segment: magic, version, capacities and offsets, in bytes from its start.

Raise `LAYOUT_VERSION` whenever a number here, or the meaning of a cell, changes: a process of another version then
refuses the segment instead of misreading it. Nothing in the segment is a pointer.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import msgspec

MAGIC = b"shardprx"
LAYOUT_VERSION = 8

PAGE_BYTES = 4096
LINE_BYTES = 64
ROWS_PER_LINE = 16  # int32 cells of one gauge that share a cache line, and so are added up together

HEADER = struct.Struct("<8sI11IQ16s")  # magic, version, capacities in the order of their fields, size, secret
SECRET_BYTES = 16
ROWS_USED_OFFSET = 256  # uint32, on a line of its own: every sum of gauges reads it
WORKERS_WANTED_OFFSET = 320  # uint32
ROWS_COUNTED_OFFSET = 384  # uint32: every sum of counters reads it

ROW_BYTES = 128  # two lines, because processors fetch lines in pairs
GAUGE_BYTES = 4
BUCKET_BYTES = LINE_BYTES  # one bucket a line, so that busy buckets do not slow each other
ADDRESS_WAYS = 16  # entries of one set, which an address can have one of
TAG_BYTES = 8
KEY_WAYS = 16  # places of one set, which a key can have one of
KEY_BYTES = 8
DECISION_BYTES = 16  # flags, reason, since when
WAITER_BYTES = 8  # class and arrival of the first who waits in a worker
COUNTER_BYTES = 8
HISTOGRAM_WORDS = 256  # 248 counts, the sum of what was observed, 7 spare
HISTOGRAM_BYTES = 8 * HISTOGRAM_WORDS

MAX_ROWS = 1024
_MAX_SLOTS = 1 << 24


class Capacities(msgspec.Struct, frozen=True):
    """How many of each the segment has room for. Pages that nobody touches cost nothing.

    `rows` is a multiple of 16 up to 1024: one for the supervisor and one for every process alive at once. The others
    are slots, 1 to 16 777 216 of each. `addresses` is a power of two from 16: how many client addresses can have
    connections at once. One of 3 million finds no room while a quarter is in use, one of 1 300 while half is. `keys`
    is a power of two from 16, too: the most places of a table of keyed buckets, of which there are `key_tables`.
    Raises `ValueError` for anything else.
    """

    rows: int = 64
    gauges: int = 16384
    counters: int = 16384
    histograms: int = 2048
    buckets: int = 4096
    addresses: int = 16384
    decisions: int = 16384
    key_tables: int = 64
    keys: int = 65536
    queues: int = 1024
    words: int = 16384

    def __post_init__(self) -> None:
        if self.rows % ROWS_PER_LINE or not 0 < self.rows <= MAX_ROWS:
            raise ValueError(f"rows must be a multiple of {ROWS_PER_LINE} up to {MAX_ROWS}, not {self.rows}")
        for name in ("gauges", "counters", "histograms", "buckets", "decisions", "key_tables", "queues", "words"):
            if not 0 < getattr(self, name) <= _MAX_SLOTS:
                raise ValueError(f"{name} must be from 1 to {_MAX_SLOTS}, not {getattr(self, name)}")
        for name, least in (("addresses", ADDRESS_WAYS), ("keys", KEY_WAYS)):
            value = getattr(self, name)
            if value & (value - 1) or not least <= value <= _MAX_SLOTS:
                raise ValueError(f"{name} must be a power of two from {least} to {_MAX_SLOTS}, not {value}")


class Section(NamedTuple):
    """One part of the segment: `blocks` of `stride` bytes each, from `offset` on."""

    offset: int
    stride: int
    blocks: int

    @property
    def end(self) -> int:
        """Where the section's last page ends, and the next section begins."""
        return self.offset + whole_pages(self.stride * self.blocks)


class Sections(NamedTuple):
    """The parts of the segment in their order. Metrics and rows are indexed by row, tags by set, the others by slot."""

    header: Section
    rows: Section
    gauges: Section
    buckets: Section
    address_tags: Section
    address_cells: Section
    decisions: Section
    keyed: Section
    clocks: Section
    waiters: Section
    words: Section
    counters: Section
    histograms: Section

    @property
    def size(self) -> int:
        """Bytes of the whole segment."""
        return self.histograms.end


def whole_pages(length: int) -> int:
    """`length` bytes rounded up to whole pages."""
    return -(-length // PAGE_BYTES) * PAGE_BYTES


def sections(capacities: Capacities) -> Sections:
    """Where each part lies for these capacities.

    A row of counters or histograms is whole pages, so that two processes never write to the same line.
    """
    header = Section(0, PAGE_BYTES, 1)
    rows = Section(header.end, ROW_BYTES, capacities.rows)
    gauges = Section(rows.end, GAUGE_BYTES * capacities.rows, capacities.gauges)
    buckets = Section(gauges.end, BUCKET_BYTES, capacities.buckets)
    sets = capacities.addresses // ADDRESS_WAYS
    tags = Section(buckets.end, TAG_BYTES * ADDRESS_WAYS, sets)
    cells = Section(tags.end, GAUGE_BYTES * capacities.rows, capacities.addresses)
    decisions = Section(cells.end, DECISION_BYTES, capacities.decisions + 1)  # the last: their generation
    keyed = Section(decisions.end, whole_pages(KEY_BYTES * capacities.keys), capacities.key_tables)
    clocks = Section(keyed.end, LINE_BYTES, capacities.key_tables)
    waiters = Section(clocks.end, WAITER_BYTES * capacities.rows, capacities.queues)
    words = Section(waiters.end, LINE_BYTES, capacities.words)
    counters = Section(words.end, whole_pages(COUNTER_BYTES * capacities.counters), capacities.rows)
    histograms = Section(counters.end, whole_pages(HISTOGRAM_BYTES * capacities.histograms), capacities.rows)
    return Sections(
        header, rows, gauges, buckets, tags, cells, decisions, keyed, clocks, waiters, words, counters, histograms
    )
