from __future__ import annotations

import logging
import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.supervisor import counting, steering
from shardproxy.supervisor.steering import (
    BUSY_NS,
    HASTY_NS,
    HORIZON_NS,
    QUIET_NS,
    Counts,
    Course,
    Steering,
    Steersman,
    shares,
)

HOST = "127.0.0.1"
Group = list[socket.socket]
LOADS = st.lists(st.none() | st.integers(0, 10_000), min_size=1, max_size=512)


@contextmanager
def group(size: int, host: str = HOST) -> Iterator[Group]:
    """Listening sockets that share a port, in the order of their workers."""
    members: Group = []
    try:
        for _ in range(size):
            one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            members.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind((host, members[0].getsockname()[1]))
        for one in members:
            one.listen(1024)
        yield members
    finally:
        for one in members:
            one.close()


def connect(members: Group, count: int) -> list[int]:
    """How many of `count` connections each member got; nobody accepts them."""
    where = next(one.getsockname() for one in members if one.fileno() >= 0)
    clients = [socket.create_connection(where[:2], timeout=5) for _ in range(count)]
    got = []
    for one in members:
        one.setblocking(False)
        got.append(0)
        while one.fileno() >= 0 and select.select([one], [], [], 0)[0]:
            one.accept()[0].close()
            got[-1] += 1
    for client in clients:
        client.close()
    return got


@pytest.fixture(params=["counting", "drawing"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both programs, where the kernel grants both."""
    if request.param == "drawing":
        monkeypatch.setattr(counting, "is_permitted", lambda: False)
    elif not counting.is_permitted():
        pytest.skip("counting in the kernel needs CAP_BPF")
    return str(request.param)


# Shares ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "expected", "wanted"),
    [
        ([0, 0, 0, 0], 1, [1, 1, 1, 1]),
        ([7, 7], 100, [1, 1]),
        ([1, 0, 0, 0], 1, [0, 1, 1, 1]),
        ([50, 50, 49, 51], 1, [0, 0, 1, 0]),
        ([0, 10], 5, [1, 0]),
        ([0, 10], 20, [3, 1]),
        ([30, 50, 50, 50], 40, [5, 1, 1, 1]),
        ([None, 3, None, 3], 1, [0, 1, 0, 1]),
        ([None, None], 9, [0, 0]),
        ([None, 1000, 0], 1, [0, 0, 1]),
        ([5], 1, [1]),
        ([], 1, []),
    ],
)
def test_what_comes_next_fills_up_whoever_has_least(counts: Counts, expected: int, wanted: list[int]) -> None:
    assert shares(counts, expected) == wanted


@given(LOADS, st.integers(0, 100_000))
def test_only_living_workers_get_a_share_and_one_always_does(counts: list[int | None], expected: int) -> None:
    found = shares(counts, expected)
    assert all(share == 0 for count, share in zip(counts, found, strict=True) if count is None)
    assert (sum(found) > 0) == any(count is not None for count in counts)
    assert min(found) >= 0


@given(LOADS, st.integers(1, 100_000))
def test_fewer_connections_mean_a_larger_share_and_equal_ones_an_equal(counts: list[int | None], expected: int) -> None:
    pairs = sorted((count, share) for count, share in zip(counts, shares(counts, expected), strict=True) if count)
    for (less, larger), (more, smaller) in zip(pairs, pairs[1:], strict=False):
        assert larger == smaller if less == more else larger >= smaller


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20), st.integers(1, 10_000))
def test_when_all_expected_ones_have_come_those_who_got_some_are_level(counts: list[int], expected: int) -> None:
    found = shares(counts, expected)
    got = [share * expected / sum(found) for share in found]
    level = [count + more for count, more in zip(counts, got, strict=True) if more]
    assert max(level) - min(level) < 1e-6
    assert all(count >= level[0] - 1e-6 for count, more in zip(counts, got, strict=True) if not more)


# The kernel --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_kernel_keeps_to_the_shares(way: str, host: str) -> None:
    with group(4, host) as members:
        one = Steering(members)
        one.update([0, 3, 1, 0])
        assert repr(one) == f"<Steering {way} [0, 3, 1, 0]>"
        got = connect(members, 200)
        one.close()
    assert (got[0], got[3], sum(got)) == (0, 0, 200)
    assert 110 < got[1] < 190


def test_the_latest_shares_hold(way: str) -> None:
    with group(3) as members:
        one = Steering(members)
        for chosen in (0, 2, 1, 2):
            one.update([int(index == chosen) for index in range(3)])
            assert connect(members, 20) == [20 if index == chosen else 0 for index in range(3)]
        one.close()


def test_counting_leaves_nothing_to_chance() -> None:
    if not counting.is_permitted():
        pytest.skip("counting in the kernel needs CAP_BPF")
    with group(4) as members:
        one = Steering(members)
        one.update([1, 1, 1, 1])
        assert one.leaves_nothing_to_chance
        assert connect(members, 200) == [50, 50, 50, 50]
        one.close()


def test_without_the_privilege_it_draws() -> None:
    """As somebody else, in a process of its own."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    with group(3) as members:
        pid = os.fork()
        if pid == 0:
            os.setresuid(65534, 65534, 65534)
            one = Steering(members)
            one.update([0, 1, 0])
            os._exit(0 if repr(one) == "<Steering drawing [0, 1, 0]>" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert connect(members, 20) == [0, 20, 0]


def test_nobody_to_choose_and_detached_mean_whoever_the_kernel_chooses(way: str) -> None:
    with group(2) as members:
        one = Steering(members)
        one.update([1, 0])
        assert connect(members, 20) == [20, 0]
        one.update([0, 0])
        assert min(connect(members, 100)) > 10
        one.update([1, 0])
        assert connect(members, 20) == [20, 0]
        one.detach()
        assert min(connect(members, 100)) > 10
        one.close()


def test_the_program_outlives_what_made_it(way: str) -> None:
    """The kernel goes on with it until a hot restart's new code writes another."""
    with group(2) as members:
        former = Steering(members)
        former.update([0, 1])
        former.close()
        assert connect(members, 20) == [0, 20]
        successor = Steering(members)
        successor.update([1, 0])
        assert connect(members, 20) == [20, 0]
        successor.close()


def test_a_group_that_grows_and_shrinks_is_followed(way: str) -> None:
    with group(2) as members:
        one = Steering(members)
        one.update([1, 0])
        with socket.socket() as third:
            third.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            third.bind(members[0].getsockname())
            third.listen()
            members.append(third)
            one.update([0, 0, 1])
            assert connect(members, 20) == [0, 0, 20]
            one.update([0, 1])  # two workers are left; the third still listens
            assert connect(members, 20) == [0, 20, 0]
            members.pop()
        one.update([1, 0, 1])  # and is not there any more
        assert connect(members, 20) == [20, 0]
        one.close()


def test_the_index_of_a_socket_is_the_order_in_which_it_began_to_listen(way: str) -> None:
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        first.bind((HOST, 0))
        second.bind(first.getsockname())
        second.listen()
        first.listen()
        steered = Steering([first, second])
        steered.update([1, 0])
        assert connect([first, second], 10) == [0, 10]
        steered.close()


def test_a_group_that_outgrows_its_table_gets_a_larger_one() -> None:
    if not counting.is_permitted():
        pytest.skip("counting in the kernel needs CAP_BPF")
    with group(2) as members, group(40) as many:
        one = Steering(members)
        one.update([1, 1])
        members += many
        one.update([0] * 41 + [1])
        assert one.leaves_nothing_to_chance
        del members[2:]
        one.close()


def test_a_closed_group_and_a_group_of_one_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    with group(2) as members:
        both, alone = Steering(members), Steering(members[:1])
        alone.update([1])
    both.update([1, 0])
    both.detach()
    assert (both.waiting(), caplog.records) == ([0, 0], [])


def test_a_kernel_that_refuses_is_asked_once_and_chooses_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    """Sockets that do not share their port cannot be steered: for the kernel, EINVAL."""
    caplog.set_level(logging.WARNING)
    with socket.create_server((HOST, 0)) as first, socket.create_server((HOST, 0)) as second:
        one = Steering([first, second])
        one.update([1, 0])
        one.update([0, 1])
        assert connect([first], 3) == [3]
    assert one.is_refused
    assert [record.message for record in caplog.records] == [
        "the kernel does not steer connections (Invalid argument); it chooses workers by a hash"
    ]


def test_who_waits_to_be_accepted_is_seen(way: str) -> None:
    with group(2) as members:
        one = Steering(members)
        one.update([0, 1])
        clients = [socket.create_connection(members[0].getsockname(), timeout=5) for _ in range(7)]
        assert one.waiting() == [0, 7]
        members[1].accept()[0].close()
        assert one.waiting() == [0, 6]
        for client in clients:
            client.close()
        one.close()


# The steersman -----------------------------------------------------------------------------------------------------


class Workers:
    """A real group, and what its workers would count."""

    def __init__(self, members: Group) -> None:
        self.counts: list[int | None] = [0] * len(members)
        self.accepted = 0
        self.steering = Steering(members)
        self.course = Course(self.steering, lambda: list(self.counts), lambda: self.accepted)
        self.cost_ns = 0
        self._clock_ns = 0
        self.steersman = Steersman([self.course])

    def come(self, members: Group, count: int) -> None:
        for index, got in enumerate(connect(members, count)):
            held = self.counts[index]
            self.counts[index] = None if held is None else held + got
            self.accepted += got

    def steer(self, now_ns: int) -> None:
        self.steersman.steer(now_ns, self._clock)

    def _clock(self) -> int:
        self._clock_ns += self.cost_ns
        return self._clock_ns


@pytest.fixture
def four(way: str) -> Iterator[tuple[Workers, Group]]:
    with group(4) as members:
        workers = Workers(members)
        yield workers, members
        workers.steering.close()


def test_two_hundred_connections_that_come_one_by_one_are_even_within_a_tenth(four: tuple[Workers, Group]) -> None:
    workers, members = four
    for turn in range(40):  # 5 in 10 ms: 500/s
        workers.steer(1 + turn * BUSY_NS)
        workers.come(members, 5)
    held = [count or 0 for count in workers.counts]
    assert sum(held) == 200
    assert max(held) / min(held) <= (1.1 if workers.steering.leaves_nothing_to_chance else 1.35)


def test_whoever_has_less_catches_up_and_nobody_else_gets_any_until_then(four: tuple[Workers, Group]) -> None:
    workers, members = four
    workers.counts, workers.accepted = [100, 0, 100, None], 200
    workers.steer(1)
    workers.steer(1 + 10 * HORIZON_NS)
    workers.come(members, 20)
    assert workers.counts == [100, 20, 100, None]


def test_a_worker_that_does_not_accept_gets_no_more_until_the_others_have_as_many(four: tuple[Workers, Group]) -> None:
    workers, members = four
    workers.steering.update([0, 1, 0, 0])
    clients = [socket.create_connection(members[0].getsockname(), timeout=5) for _ in range(40)]
    workers.steer(1)
    workers.steer(1 + 10 * HORIZON_NS)
    got = connect(members, 12)
    assert (got[1], sum(got)) == (40, 52)
    for client in clients:
        client.close()


def test_it_looks_often_while_connections_move_and_seldom_otherwise(four: tuple[Workers, Group]) -> None:
    workers, _ = four
    now_ns = 10**12
    workers.steer(now_ns)
    assert workers.steersman.due_ns() == [now_ns + QUIET_NS]
    workers.accepted, workers.counts = 1, [1, 0, 0, 0]
    now_ns += QUIET_NS
    workers.steer(now_ns)
    pause_ns = BUSY_NS if workers.steering.leaves_nothing_to_chance else HASTY_NS
    assert workers.steersman.due_ns() == [now_ns + pause_ns]
    workers.steer(now_ns + HORIZON_NS - 1)
    assert workers.steersman.due_ns() == [now_ns + HORIZON_NS - 1 + BUSY_NS]
    workers.steer(now_ns + HORIZON_NS - 1 + BUSY_NS)
    assert workers.steersman.due_ns() == [now_ns + HORIZON_NS - 1 + BUSY_NS + QUIET_NS]


def test_connections_that_end_are_a_movement_too(four: tuple[Workers, Group]) -> None:
    workers, _ = four
    workers.accepted, workers.counts = 8, [2, 2, 2, 2]
    workers.steer(10**12)
    workers.steer(2 * 10**12)
    workers.counts = [2, 2, 0, 2]
    workers.steer(3 * 10**12)
    assert workers.steersman.due_ns() == [3 * 10**12 + BUSY_NS]


def test_before_its_time_it_does_nothing_unless_it_is_told_to_hurry(four: tuple[Workers, Group]) -> None:
    workers, _ = four
    workers.steer(10**12)
    workers.counts = [None] * 4
    workers.steer(10**12 + 1)
    assert "[1, 1, 1, 1]" in repr(workers.steering)
    workers.steersman.hurry()
    workers.steer(10**12 + 1)
    assert "[]" in repr(workers.steering)


def test_what_takes_long_is_done_less_often(four: tuple[Workers, Group]) -> None:
    workers, _ = four
    workers.cost_ns = 5_000_000
    workers.steer(10**12)
    assert workers.steersman.due_ns() == [10**12 + steering.FEWEST_PAUSES * 5_000_000]


def test_nothing_to_steer_is_never_due() -> None:
    idle = Steersman()
    idle.steer(time.monotonic_ns())
    assert (idle.due_ns(), repr(idle)) == ([], "<Steersman []>")
