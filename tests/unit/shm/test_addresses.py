from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator

import pytest

from shardproxy.shm import layout
from shardproxy.shm.addresses import REFUSED, UNCOUNTED, Addresses, siphash13
from shardproxy.shm.layout import ADDRESS_WAYS, Capacities
from shardproxy.shm.segment import Segment

LOCAL = bytes([127, 0, 0, 1])
MANY = 1000
CLAIM = 0x800  # as in addresses.pxd


@pytest.fixture
def one_set() -> Iterator[Segment]:
    """Every address is in the same set of 16."""
    made = Segment.create(Capacities(rows=32, gauges=1, counters=1, histograms=1, buckets=1, addresses=ADDRESS_WAYS))
    made.rows_used = 32
    yield made
    made.close()


def keys(number: int, first: int = 0) -> list[bytes]:
    return [struct.pack(">I", n) for n in range(first, first + number)]


def words(segment: Segment) -> memoryview:
    return segment.part(segment.sections.address_tags)[: 8 * segment.capacities.addresses].cast("Q")


def test_an_address_has_up_to_its_cap_over_all_rows(segment: Segment) -> None:
    one, two = Addresses(segment, 1), Addresses(segment, 2)
    segment.rows_used = 3
    tickets = [one.enter(LOCAL, 3), two.enter(LOCAL, 3), two.enter(LOCAL, 3)]
    assert tickets == [tickets[0]] * 3
    assert one.total(tickets[0]) == 3
    assert [one.enter(LOCAL, 3), two.enter(LOCAL, 3)] == [REFUSED, REFUSED]
    assert one.total(tickets[0]) == 3


def test_who_leaves_makes_room_for_another(segment: Segment) -> None:
    one, two = Addresses(segment, 1), Addresses(segment, 2)
    segment.rows_used = 3
    ticket = one.enter(LOCAL, 1)
    assert two.enter(LOCAL, 1) == REFUSED
    one.leave(ticket)
    assert one.total(ticket) == 0
    assert two.enter(LOCAL, 1) == ticket


@pytest.mark.parametrize("cap", [0, -1])
def test_nobody_enters_under_a_cap_of_nothing(segment: Segment, cap: int) -> None:
    addresses = Addresses(segment, 0)
    assert addresses.enter(LOCAL, cap) == REFUSED
    assert addresses.in_use() == 0


def test_each_address_has_a_count_of_its_own(segment: Segment) -> None:
    addresses = Addresses(segment, 0)
    different = [LOCAL, LOCAL + bytes(4), LOCAL + bytes(1), bytes(8), bytes(4), b""]
    tickets = [addresses.enter(key, 1) for key in different]
    assert sorted(set(tickets)) == sorted(tickets)
    assert [addresses.enter(key, 1) for key in different] == [REFUSED] * len(different)
    assert addresses.in_use() == len(different)


def test_tickets_that_count_nothing_can_be_given_back(segment: Segment) -> None:
    addresses = Addresses(segment, 0)
    addresses.leave(REFUSED)
    addresses.leave(UNCOUNTED)
    assert addresses.in_use() == 0


def test_an_address_comes_back_to_the_entry_it_had(one_set: Segment) -> None:
    addresses = Addresses(one_set, 0)
    before = [addresses.enter(key, 1) for key in keys(ADDRESS_WAYS)]
    for ticket in before:
        addresses.leave(ticket)
    assert [addresses.enter(key, 1) for key in keys(ADDRESS_WAYS)] == before


def test_an_entry_that_nobody_uses_goes_to_another_address(one_set: Segment) -> None:
    addresses = Addresses(one_set, 0)
    for key in keys(MANY):
        ticket = addresses.enter(key, 1)
        assert ticket >= 0
        assert addresses.enter(key, 1) == REFUSED
        addresses.leave(ticket)
    assert addresses.in_use() == 0


def test_only_the_entry_that_became_free_is_taken_over(one_set: Segment) -> None:
    addresses = Addresses(one_set, 0)
    tickets = [addresses.enter(key, 2) for key in keys(ADDRESS_WAYS)]
    addresses.leave(tickets[7])
    assert addresses.enter(b"another", 1) == tickets[7]
    assert [addresses.enter(key, 2) for key in keys(7)] == tickets[:7]
    assert addresses.enter(keys(8)[7], 1) == UNCOUNTED


def test_an_address_whose_set_is_full_of_others_is_not_counted(one_set: Segment) -> None:
    addresses = Addresses(one_set, 0)
    tickets = [addresses.enter(key, 1) for key in keys(ADDRESS_WAYS)]
    assert sorted(tickets) == list(range(ADDRESS_WAYS))
    assert addresses.enter(b"one more", 1) == UNCOUNTED
    assert [addresses.enter(key, 1) for key in keys(ADDRESS_WAYS)] == [REFUSED] * ADDRESS_WAYS
    assert addresses.in_use() == ADDRESS_WAYS


def test_an_eighth_of_all_entries_is_had_without_one_going_uncounted() -> None:
    segment = Segment.create(Capacities())
    try:
        addresses = Addresses(segment, 0)
        tickets = [addresses.enter(key, 1) for key in keys(segment.capacities.addresses // 8)]  # all but surely: 1e-7
        assert min(tickets) >= 0
        assert len(set(tickets)) == len(tickets) == addresses.in_use()
    finally:
        segment.close()


def test_clearing_a_row_forgets_all_of_that_row_and_nothing_else(segment: Segment) -> None:
    segment.rows_used = 32
    dead, alive = Addresses(segment, 31), Addresses(segment, 2)
    mine = {key: ticket for key in keys(8) if (ticket := alive.enter(key, 5)) >= 0}
    for key in keys(12):
        for _ in range(3):
            dead.enter(key, 5)
    alive.clear_row(31)
    assert {alive.total(ticket) for ticket in mine.values()} == {1}
    assert alive.in_use() == len(mine) == 8


MARKS = [0, 5, 32]  # nobody's, a dead row's, the own row's from a predecessor


@pytest.mark.parametrize("mark", MARKS)
def test_an_entry_that_was_being_taken_over_by_one_who_died_still_counts_for_its_address(
    one_set: Segment, mark: int
) -> None:
    one, two = Addresses(one_set, 1), Addresses(one_set, 31)
    ticket = one.enter(LOCAL, 2)
    words(one_set)[ticket] |= mark
    assert two.enter(LOCAL, 2) == ticket
    assert words(one_set)[ticket] & 0xFFF == 0
    assert one.enter(LOCAL, 2) == REFUSED


@pytest.mark.parametrize("mark", MARKS[1:])
def test_an_idle_entry_that_was_being_taken_over_by_one_who_died_is_taken_over(one_set: Segment, mark: int) -> None:
    addresses = Addresses(one_set, 31)
    idle = [addresses.enter(key, 1) for key in keys(ADDRESS_WAYS)]
    addresses.leave(idle[3])
    words(one_set)[idle[3]] |= mark
    assert addresses.enter(LOCAL, 1) == idle[3]


@pytest.mark.parametrize("mark", MARKS[1:])
@pytest.mark.parametrize("at", [0, 9, 15])
def test_the_claim_of_one_who_died_is_taken_over_by_the_next_of_its_address(
    one_set: Segment, at: int, mark: int
) -> None:
    addresses = Addresses(one_set, 31)
    ticket = addresses.enter(LOCAL, 1)
    addresses.leave(ticket)
    tag, words(one_set)[ticket] = words(one_set)[ticket], 0
    words(one_set)[at] = tag | CLAIM | mark
    assert addresses.enter(LOCAL, 1) == at
    assert [word for word in words(one_set) if word] == [tag]


def test_claims_of_the_dead_give_way_when_there_is_no_other_room(one_set: Segment) -> None:
    for at in range(ADDRESS_WAYS):
        words(one_set)[at] = (at + 1) << 12 | CLAIM | 5
    addresses = Addresses(one_set, 0)
    assert sorted(addresses.enter(key, 1) for key in keys(ADDRESS_WAYS)) == list(range(ADDRESS_WAYS))
    assert addresses.enter(b"one more", 1) == UNCOUNTED


def test_two_claims_of_the_dead_for_one_address_become_one_entry(one_set: Segment) -> None:
    addresses = Addresses(one_set, 0)
    addresses.leave(addresses.enter(LOCAL, 1))
    tag, words(one_set)[0] = max(words(one_set)), 0
    for at, row in ((2, 5), (3, 6), (11, 7)):
        words(one_set)[at] = tag | CLAIM | row
    assert addresses.enter(LOCAL, 1) == 2
    assert [word for word in words(one_set) if word] == [tag]
    assert addresses.enter(LOCAL, 1) == REFUSED


def test_untouched_memory_stays_untouched_whatever_is_cleared_or_counted() -> None:
    segment = Segment.create(Capacities())
    try:
        addresses = Addresses(segment, 0)
        addresses.enter(LOCAL, 1)
        before = os.fstat(segment.fd).st_blocks
        addresses.clear_row(0)
        assert addresses.in_use() == 0
        assert os.fstat(segment.fd).st_blocks == before <= 3 * layout.PAGE_BYTES // 512
    finally:
        segment.close()


@pytest.mark.parametrize("ticket", [32, 1 << 20])
def test_what_cannot_be_a_ticket_is_refused(segment: Segment, ticket: int) -> None:
    addresses = Addresses(segment, 0)
    for call in (addresses.leave, addresses.total):
        with pytest.raises(IndexError, match=f"there is no address entry {ticket}; the segment has 32"):
            call(ticket)


@pytest.mark.parametrize("row", [-1, 32])
def test_a_row_that_is_not_there_is_refused(segment: Segment, row: int) -> None:
    with pytest.raises(IndexError, match=f"there is no row {row}; the segment has 32"):
        Addresses(segment, row)
    with pytest.raises(IndexError, match=f"there is no row {row}; the segment has 32"):
        Addresses(segment, 0).clear_row(row)


def test_repr_tells_its_row(segment: Segment) -> None:
    assert repr(Addresses(segment, 3)) == "<Addresses row=3 entries=32>"


@pytest.mark.skipif(sys.hash_info.algorithm != "siphash13", reason="this Python hashes by another function")
def test_the_hash_is_that_of_python_for_a_secret_of_zeros() -> None:
    """CPython hashes bytes with SipHash-1-3, and PYTHONHASHSEED=0 makes its secret zero."""
    program = "print([hash(bytes(range(n))) % 2**64 for n in range(1, 40)])"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout.strip() == str([siphash13(bytes(16), bytes(range(n))) for n in range(1, 40)])


def test_the_hash_depends_on_every_byte_of_the_secret() -> None:
    secrets = [bytes(16)] + [bytes(at) + b"\1" + bytes(15 - at) for at in range(16)]
    assert len({siphash13(secret, LOCAL) for secret in secrets}) == 17


def test_a_secret_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a secret must have 16 bytes, not 8"):
        siphash13(bytes(8), LOCAL)
