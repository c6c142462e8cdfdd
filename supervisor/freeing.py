"""Slots of names that no configuration in use has any more, for those that come: without it a proxy would run full.

    in the configuration ──> gone, its cells kept ──> no process uses a configuration that had it, all gauges of the
                                                      same thing are 0, and a slot is wanted ──> zeroed and free

It is the same for all kinds of slots, and for all that has names: endpoints, clusters, listeners, limits, queues.

Who uses a configuration counts in its gauge (`configuration_held`): in each worker its routes and listeners, which a
request or a connection keeps until it ends, and the controller while it serves it. So a request that began five
configurations ago keeps the slots of that one, and of no other. A process that dies has its counts cleared.

Of each name the first and the last configuration that had it are noted (`Slots.note`); one in between that did not have
it counts as if it did. What an aborted reload has named belongs to its number, which the next one gets as well.

A name that comes back before its slots are wanted finds its former cells, later it gets fresh ones; those of another
name never.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from shardproxy.config.schema import Config
from shardproxy.shm import names
from shardproxy.shm.decisions import Decisions
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.layout import HISTOGRAM_WORDS, Section
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import SlotKind, Slots, SlotsFull
from shardproxy.shm.words import Words
from shardproxy.supervisor import catalog
from shardproxy.supervisor.memory import SUPERVISOR_ROW

_WORD_BYTES = 8
_HELD = names.configuration_held(0).partition("{")[0] + "{"


class Named(NamedTuple):
    """A slot, and what it is called."""

    kind: SlotKind
    name: str
    slot: int


def assign(config: Config, slots: Slots, segment: Segment, version: int, served: Iterable[int] = ()) -> None:
    """As `catalog.assign` for number `version`; when there is no room, what no configuration in use has makes it.

    `served` are the numbers of configurations that are in use whoever says so. Raises `SlotsFull` when that is not
    enough.
    """
    try:
        catalog.assign(config, slots, version)
    except SlotsFull:
        for kind, name in catalog.entries(config, version):
            slots.note(kind, name, version)
        free_unused(slots, segment, {version, *served})
        catalog.assign(config, slots, version)


def free_unused(slots: Slots, segment: Segment, served: set[int]) -> None:
    """Give the slots back whose names no configuration has that is `served`, or that anybody still uses.

    Cost: one step for each name, and for each slot that is freed one for each row; only when the memory is full.
    """
    gauges, cells = Gauges(segment, SUPERVISOR_ROW), Cells(segment)
    in_use = sorted(served | _held(slots, gauges))
    for things in _by_labels(slots):
        gone = [one for one in things if not _is_had(slots.span(one.kind, one.name), in_use)]
        if gone and all(gauges.total(one.slot) == 0 for one in things if one.kind is SlotKind.GAUGE):
            for one in gone:
                cells.zero[one.kind](one.slot)
                slots.give_back(one.kind, one.name)


def _held(slots: Slots, gauges: Gauges) -> set[int]:
    """The configurations that somebody uses, by number."""
    held = {name: slot for name, slot in slots.names(SlotKind.GAUGE).items() if name.startswith(_HELD)}
    return {slots.span(SlotKind.GAUGE, name)[1] for name, slot in held.items() if gauges.total(slot) != 0}


def _is_had(span: tuple[int, int], in_use: list[int]) -> bool:
    """Whether one of the configurations `in_use`, in order, is from the first to the last of `span`."""
    first, last = span
    at = bisect_left(in_use, first)
    return at < len(in_use) and in_use[at] <= last


def _by_labels(slots: Slots) -> list[list[Named]]:
    """All names of each thing together: of one endpoint, of one cluster, of one limit, and so on."""
    found: dict[str, list[Named]] = defaultdict(list)
    for kind in SlotKind:
        for name, slot in slots.names(kind).items():
            found[name.partition("{")[2] or name].append(Named(kind, name, slot))
    return list(found.values())


class Cells:
    """What there is to zero in a slot that nobody uses; its gauges are 0 already."""

    def __init__(self, segment: Segment) -> None:
        sections, words = segment.sections, Words(segment)
        self._segment = segment
        self._rows = segment.rows_counted
        self._counters = segment.part(sections.counters).cast("Q")
        self._counters_row = sections.counters.stride // _WORD_BYTES
        self._histograms = segment.part(sections.histograms).cast("Q")
        self._histograms_row = sections.histograms.stride // _WORD_BYTES
        self.zero: dict[SlotKind, Callable[[int], None]] = {
            SlotKind.GAUGE: lambda slot: None,
            SlotKind.COUNTER: self._counter,
            SlotKind.HISTOGRAM: self._histogram,
            SlotKind.BUCKET: lambda slot: self._block(sections.buckets, slot),
            SlotKind.DECISION: Decisions(segment).clear,
            SlotKind.TABLE: self._table,
            SlotKind.QUEUE: lambda slot: self._block(sections.waiters, slot),
            SlotKind.WORD: lambda slot: words.store(slot, 0),
        }

    def _counter(self, slot: int) -> None:
        for row in range(self._rows):
            _clear(self._counters, row * self._counters_row + slot, 1)

    def _histogram(self, slot: int) -> None:
        for row in range(self._rows):
            _clear(self._histograms, row * self._histograms_row + slot * HISTOGRAM_WORDS, HISTOGRAM_WORDS)

    def _table(self, slot: int) -> None:
        """Its words first: without a clock they mean nothing, but with one of another table's they would."""
        self._block(self._segment.sections.keyed, slot)
        self._block(self._segment.sections.clocks, slot)

    def _block(self, section: Section, slot: int) -> None:
        """Only pages that were ever written are touched."""
        start = section.offset + slot * section.stride
        for first, end in list(self._segment.touched(start, start + section.stride)):
            first = max(first, start)
            self._segment.memory[first:end] = bytes(end - first)


def _clear(cells: memoryview, first: int, count: int) -> None:
    """Write only where something is: most of it was never touched."""
    if any(cells[first : first + count]):
        cells[first : first + count] = memoryview(bytes(count * _WORD_BYTES)).cast("Q")
