"""Names and the slots they stand for: which cell of the segment is which endpoint's, limit's or metric's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from shardproxy.shm.layout import Capacities

# In the place of a name whose slot has been given back.
FREE = ""

# The first and the last configuration, by number, that had a name; nobody knows which.
Span = tuple[int, int]
UNKNOWN_SPAN: Span = (0, 0)


class SlotKind(StrEnum):
    """What a slot holds; each kind is numbered by itself."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    BUCKET = "bucket"
    DECISION = "decision"
    TABLE = "table"
    QUEUE = "queue"
    WORD = "word"


class SlotsFull(Exception):
    """The segment has no slot left of that kind. `str()` is a plain sentence that says which and how many."""


class UnknownSlot(LookupError):
    """A name that the supervisor did not assign, asked for after `seal`. `str()` is a plain sentence."""


class Slots:
    """Slot numbers by name. A name keeps its number until it is given back, or for as long as the segment lives.

    One writer: the supervisor, before it forks; the others inherit what it assigned and only look up. `seal` in a
    child turns a forgotten name into an error; otherwise it would get a number that means another thing elsewhere.
    """

    def __init__(self, capacities: Capacities) -> None:
        self._all = capacities
        self._capacity = {
            SlotKind.GAUGE: capacities.gauges,
            SlotKind.COUNTER: capacities.counters,
            SlotKind.HISTOGRAM: capacities.histograms,
            SlotKind.BUCKET: capacities.buckets,
            SlotKind.DECISION: capacities.decisions,
            SlotKind.TABLE: capacities.key_tables,
            SlotKind.QUEUE: capacities.queues,
            SlotKind.WORD: capacities.words,
        }
        self._numbers: dict[SlotKind, dict[str, int]] = {kind: {} for kind in SlotKind}
        self._free: dict[SlotKind, list[int]] = {kind: [] for kind in SlotKind}
        self._spans: dict[SlotKind, dict[str, Span]] = {kind: {} for kind in SlotKind}
        self._sealed = False
        self.most_keys = capacities.keys
        """The most places that a table can have."""

    @classmethod
    def restored(
        cls,
        capacities: Capacities,
        names: Mapping[SlotKind, Sequence[str]],
        spans: Mapping[SlotKind, Mapping[str, Span]] | None = None,
    ) -> Slots:
        """What another process has assigned: the names of each kind, in the order of their slots; and `spans`."""
        slots = cls(capacities)
        for kind, found in names.items():
            slots._numbers[kind] = {name: slot for slot, name in enumerate(found) if name != FREE}
            slots._free[kind] = [slot for slot, name in enumerate(found) if name == FREE]
        for kind, known in (spans or {}).items():
            slots._spans[kind] = dict(known)
        return slots

    def copy(self) -> Slots:
        """The same names in the same slots, so that what is assigned or given back in one does not touch the other."""
        slots = Slots(self._all)
        for kind in SlotKind:
            slots._numbers[kind] = dict(self._numbers[kind])
            slots._free[kind] = list(self._free[kind])
            slots._spans[kind] = dict(self._spans[kind])
        return slots

    def in_order(self) -> dict[SlotKind, tuple[str, ...]]:
        """All names by kind, in the order of their slots, `FREE` where one was given back: what `restored` takes."""
        found = {kind: [FREE] * (len(numbers) + len(self._free[kind])) for kind, numbers in self._numbers.items()}
        for kind, numbers in self._numbers.items():
            for name, slot in numbers.items():
                found[kind][slot] = name
        return {kind: tuple(each) for kind, each in found.items()}

    def __repr__(self) -> str:
        used = " ".join(f"{kind}={len(self._numbers[kind])}/{self._capacity[kind]}" for kind in SlotKind)
        return f"<Slots {used}{' sealed' if self._sealed else ''}>"

    def gauge(self, name: str) -> int:
        """The gauge of that name, assigned now if it is new. Raises `SlotsFull`, or `UnknownSlot` when sealed."""
        return self._find(SlotKind.GAUGE, name)

    def counter(self, name: str) -> int:
        """The counter of that name; as `gauge`."""
        return self._find(SlotKind.COUNTER, name)

    def histogram(self, name: str) -> int:
        """The histogram of that name; as `gauge`."""
        return self._find(SlotKind.HISTOGRAM, name)

    def bucket(self, name: str) -> int:
        """The bucket of that name; as `gauge`."""
        return self._find(SlotKind.BUCKET, name)

    def decision(self, name: str) -> int:
        """The decision of that name; as `gauge`."""
        return self._find(SlotKind.DECISION, name)

    def table(self, name: str) -> int:
        """The table of keyed buckets of that name; as `gauge`."""
        return self._find(SlotKind.TABLE, name)

    def queue(self, name: str) -> int:
        """The queue of that name; as `gauge`."""
        return self._find(SlotKind.QUEUE, name)

    def word(self, name: str) -> int:
        """The word of that name; as `gauge`."""
        return self._find(SlotKind.WORD, name)

    def names(self, kind: SlotKind | str) -> dict[str, int]:
        """All names of a kind with their slots, in the order they were assigned; a copy."""
        return dict(self._numbers[SlotKind(kind)])

    def note(self, kind: SlotKind, name: str, version: int) -> None:
        """Configuration number `version` has that name; does nothing if no slot has it."""
        if name in self._numbers[kind]:
            first, last = self._spans[kind].get(name, (version, version))
            self._spans[kind][name] = min(first, version), max(last, version)

    def span(self, kind: SlotKind, name: str) -> Span:
        """The first and the last configuration that had the name, as far as `note` was told."""
        return self._spans[kind].get(name, UNKNOWN_SPAN)

    def spans(self) -> dict[SlotKind, dict[str, Span]]:
        """All of them: what `restored` takes."""
        return {kind: dict(known) for kind, known in self._spans.items()}

    def give_back(self, kind: SlotKind, name: str) -> None:
        """The slot of `name` may be another's.  Nobody may use it any more, and its cells must be zero."""
        self._free[kind].append(self._numbers[kind].pop(name))
        self._spans[kind].pop(name, None)

    def seal(self) -> None:
        """Assign no new name from now on."""
        self._sealed = True

    def _find(self, kind: SlotKind, name: str) -> int:
        numbers = self._numbers[kind]
        slot = numbers.get(name)
        if slot is None:
            if self._sealed:
                raise UnknownSlot(f"no {kind} is called {name}; the supervisor assigns all names before it forks")
            free = self._free[kind]
            slot = free[-1] if free else len(numbers)
            if slot >= self._capacity[kind]:
                raise SlotsFull(f"the shared memory has room for {slot} {kind}s and all are taken; {name} finds none")
            del free[-1:]
            numbers[name] = slot
        return slot
