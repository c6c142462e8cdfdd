"""The table of addresses agrees, one call after the other, with a list of who is there."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shardproxy.shm.addresses import REFUSED, UNCOUNTED, Addresses
from shardproxy.shm.layout import ADDRESS_WAYS, Capacities
from shardproxy.shm.segment import Segment

ROWS = (0, 1, 15, 16, 31)
KEYS = [bytes([number]) * 4 for number in range(ADDRESS_WAYS + 4)]

rows = st.sampled_from(ROWS)


class Guests(RuleBasedStateMachine):
    """All addresses are in one set, so that it is often full and its entries change hands."""

    def __init__(self) -> None:
        super().__init__()
        capacities = Capacities(rows=32, gauges=1, counters=1, histograms=1, buckets=1, addresses=ADDRESS_WAYS)
        self.segment = Segment.create(capacities)
        self.segment.rows_used = 32
        self.tables = {row: Addresses(self.segment, row) for row in ROWS}
        self.guests: list[tuple[int, bytes, int]] = []  # row, address, ticket

    def teardown(self) -> None:
        self.segment.close()

    def expected(self, key: bytes, cap: int) -> int | None:
        """REFUSED, UNCOUNTED, or None for a ticket."""
        there = Counter(key for _, key, _ in self.guests)
        if not there[key] and len(there) >= ADDRESS_WAYS:
            return UNCOUNTED
        return REFUSED if there[key] >= cap else None

    @rule(row=rows, key=st.sampled_from(KEYS), cap=st.integers(0, 3))
    def enter(self, row: int, key: bytes, cap: int) -> None:
        expected = self.expected(key, cap)
        ticket = self.tables[row].enter(key, cap)
        assert ticket == expected or (expected is None and ticket >= 0)
        if ticket >= 0:
            self.guests.append((row, key, ticket))

    @rule(row=rows)
    def a_guest_of_each_address_enters(self, row: int) -> None:
        for key in KEYS:
            self.enter(row, key, 2)

    @precondition(lambda self: self.guests)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        row, _, ticket = self.guests.pop(data.draw(st.integers(0, len(self.guests) - 1)))
        self.tables[row].leave(ticket)

    @rule(row=rows, by=rows)
    def die(self, row: int, by: int) -> None:
        self.tables[by].clear_row(row)
        self.guests = [guest for guest in self.guests if guest[0] != row]

    @invariant()
    def every_count_is_right(self) -> None:
        there = Counter(key for _, key, _ in self.guests)
        tickets = {key: ticket for _, key, ticket in self.guests}
        assert len({(key, ticket) for _, key, ticket in self.guests}) == len(set(tickets.values())) == len(there)
        assert all(self.tables[0].total(ticket) == there[key] for key, ticket in tickets.items())
        assert self.tables[0].in_use() == len(there)


TestGuests = Guests.TestCase
TestGuests.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
