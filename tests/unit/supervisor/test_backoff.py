from __future__ import annotations

from shardproxy.supervisor.backoff import LONG_LIFE_NS, SOME_LIFE_NS, Backoff

SHORT_NS = 1_000_000


def delays_s(backoff: Backoff, lives_ns: list[int]) -> list[float]:
    return [backoff.after(lived_ns) / 1e9 for lived_ns in lives_ns]


def test_the_first_end_costs_no_time_and_each_further_one_twice_as_much_up_to_ten_seconds() -> None:
    expected = [0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10]
    assert delays_s(Backoff(), [SHORT_NS] * len(expected)) == expected


def test_a_long_life_begins_anew() -> None:
    assert delays_s(Backoff(), [SHORT_NS] * 4 + [LONG_LIFE_NS] + [SHORT_NS] * 2) == [0, 0.1, 0.2, 0.4, 0, 0.1, 0.2]


def test_a_life_just_too_short_does_not() -> None:
    assert delays_s(Backoff(), [SHORT_NS, SHORT_NS, LONG_LIFE_NS - 1]) == [0, 0.1, 0.2]


def test_after_some_life_clients_wait_so_the_next_one_comes_soon() -> None:
    lives = [SHORT_NS] * 6 + [SOME_LIFE_NS] * 3 + [SHORT_NS]
    assert delays_s(Backoff(), lives) == [0, 0.1, 0.2, 0.4, 0.8, 1.6, 0.4, 0.4, 0.4, 0.8]


def test_it_tells_what_comes_next() -> None:
    backoff = Backoff()
    backoff.after(SHORT_NS)
    assert repr(backoff) == "<Backoff next=0.1s>"
