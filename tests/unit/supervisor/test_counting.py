from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.supervisor import counting
from shardproxy.supervisor.counting import FEWEST_LINES, Counting, table

LINES = 256


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=32).filter(any))
def test_every_socket_has_lines_in_proportion_to_its_share(shares: list[int]) -> None:
    lines = list(table(shares, LINES))
    assert len(lines) == LINES
    for index, share in enumerate(shares):
        assert abs(lines.count(index) - LINES * share / sum(shares)) < 1
        assert share or index not in lines


@pytest.mark.parametrize("size", [2, 4, 8, 16])
def test_equal_shares_are_dealt_out_one_by_one(size: int) -> None:
    lines = list(table([1] * size, LINES))
    for start in range(0, LINES, size):
        assert sorted(lines[start : start + size]) == list(range(size))


@pytest.mark.parametrize("shares", [[1, 1, 1], [3, 1], [5, 1, 1, 1], [1, 2, 3, 4, 5]])
def test_no_stretch_of_the_table_favours_anybody_much(shares: list[int]) -> None:
    twice = [*table(shares, LINES)] * 2
    for start in range(LINES):
        for index, share in enumerate(shares):
            assert abs(twice[start : start + 64].count(index) - 64 * share / sum(shares)) < 5


@pytest.fixture
def one() -> Iterator[Counting]:
    if not counting.is_permitted():
        pytest.skip("counting in the kernel needs CAP_BPF")
    found = Counting(4)
    yield found
    found.close()


def test_the_position_moves_with_every_connection(one: Counting) -> None:
    with socket.socket() as member:
        member.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        member.bind(("127.0.0.1", 0))
        member.listen()
        one.write([1])
        one.attach(member)
        for number in range(5):
            assert one.position == number
            socket.create_connection(member.getsockname(), timeout=5).close()
    assert repr(one) == f"<Counting position=5 lines={FEWEST_LINES}>"


def test_a_table_suits_groups_up_to_its_size(one: Counting) -> None:
    assert [size for size, after in pairwise(range(40)) if one.suits(size) != one.suits(after)] == [32]


def test_it_gives_back_its_descriptors(one: Counting) -> None:
    def open_ones() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    before = open_ones()
    Counting(4).close()
    assert open_ones() == before


def test_who_has_no_capability_is_not_permitted() -> None:
    if os.geteuid() != 0:
        assert not counting.is_permitted()
        return
    pid = os.fork()
    if pid == 0:
        os.setresuid(65534, 65534, 65534)
        os._exit(int(counting.is_permitted()))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
