"""Slots of endpoints that are gone, for those that come: without it a proxy whose endpoints change would run full.

    in the configuration ──> gone, its counts kept ──> all its gauges 0, and a slot is wanted ──> zeroed and free

An endpoint that comes back before its slots are wanted finds its former counts.  `endpoint_held` is among the gauges:
as long as a worker has a configuration that knows the endpoint (a request that waits for its next try, perhaps), its
slots are nobody else's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from shardproxy.config.schema import Config
from shardproxy.shm.decisions import Decisions
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.layout import HISTOGRAM_WORDS
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import SlotKind, Slots, SlotsFull
from shardproxy.shm.words import Words
from shardproxy.supervisor import catalog
from shardproxy.supervisor.memory import SUPERVISOR_ROW
from shardproxy.supervisor.state import Household

_WORD_BYTES = 8


def assign(config: Config, slots: Slots, home: Household) -> None:
    """As `catalog.assign`; when there is no room, the endpoints that neither `config` nor the present one has make it.

    Raises `SlotsFull` when that is not enough.
    """
    try:
        catalog.assign(config, slots)
    except SlotsFull:
        kept = {*catalog.entries(config), *catalog.entries(home.config)}
        free_unused(slots, home.memory.segment, kept)
        catalog.assign(config, slots)


def free_unused(slots: Slots, segment: Segment, kept: set[catalog.Entry]) -> None:
    """Give the slots of endpoints back that are not `kept`, and that nobody knows any more.

    Cost: one step for each name, and for each slot that is freed one for each row; only when the memory is full.
    """
    gauges, cells = Gauges(segment, SUPERVISOR_ROW), Cells(segment)
    for entries in _gone(slots, kept):
        if all(gauges.total(slot) == 0 for kind, _, slot in entries if kind is SlotKind.GAUGE):
            for kind, name, slot in entries:
                cells.zero[kind](slot)
                slots.give_back(kind, name)


def _gone(slots: Slots, kept: set[catalog.Entry]) -> list[list[tuple[SlotKind, str, int]]]:
    """Endpoint by endpoint, all that was counted of it."""
    found: dict[str, list[tuple[SlotKind, str, int]]] = defaultdict(list)
    for kind in (SlotKind.GAUGE, SlotKind.COUNTER, SlotKind.HISTOGRAM, SlotKind.DECISION, SlotKind.WORD):
        for name, slot in slots.names(kind).items():
            word, _, labels = name.partition("{")
            if word.startswith("endpoint_") and (kind, name) not in kept:
                found[labels].append((kind, name, slot))
    return list(found.values())


class Cells:
    """What there is to zero in a slot that nobody uses; its gauges are 0 already."""

    def __init__(self, segment: Segment) -> None:
        sections, words = segment.sections, Words(segment)
        self._rows = segment.rows_used
        self._counters = segment.part(sections.counters).cast("Q")
        self._counters_row = sections.counters.stride // _WORD_BYTES
        self._histograms = segment.part(sections.histograms).cast("Q")
        self._histograms_row = sections.histograms.stride // _WORD_BYTES
        self.zero: dict[SlotKind, Callable[[int], None]] = {
            SlotKind.GAUGE: lambda slot: None,
            SlotKind.COUNTER: self._counter,
            SlotKind.HISTOGRAM: self._histogram,
            SlotKind.DECISION: Decisions(segment).clear,
            SlotKind.WORD: lambda slot: words.store(slot, 0),
        }

    def _counter(self, slot: int) -> None:
        for row in range(self._rows):
            _clear(self._counters, row * self._counters_row + slot, 1)

    def _histogram(self, slot: int) -> None:
        for row in range(self._rows):
            _clear(self._histograms, row * self._histograms_row + slot * HISTOGRAM_WORDS, HISTOGRAM_WORDS)


def _clear(cells: memoryview, first: int, count: int) -> None:
    """Write only where something is: most of it was never touched."""
    if any(cells[first : first + count]):
        cells[first : first + count] = memoryview(bytes(count * _WORD_BYTES)).cast("Q")
