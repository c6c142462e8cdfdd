from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.controller.standing import Standing


def story(results: str, *, rise: int = 2, fall: int = 3) -> str:
    """The side after each result: `+` good results and healthy, `-` bad ones and failed."""
    standing = Standing(rise, fall)
    sides = ""
    for result in results:
        standing.note(result == "+")
        sides += "-" if standing.is_failed else "+"
    return sides


@pytest.mark.parametrize(
    ("results", "sides"),
    [
        ("+", "+"),
        ("-", "-"),
        ("+---", "+++-"),
        ("+--+--+---", "+++++++++-"),
        ("-++", "--+"),
        ("-+-++", "----+"),
        ("+---++---", "+++--+++-"),
    ],
)
def test_the_first_result_decides_and_after_it_only_so_many_in_a_row(results: str, sides: str) -> None:
    assert story(results) == sides


def test_a_change_is_news_once() -> None:
    standing = Standing(rise=1, fall=2)
    assert [standing.note(good) for good in (True, True, False, False, False, True, True)] == [
        True, False, False, True, False, True, False,
    ]  # fmt: skip


def test_what_is_known_from_before_is_not_decided_by_one_result() -> None:
    standing = Standing(rise=2, fall=2, is_known=True, is_failed=True)
    assert [standing.note(True), standing.is_failed, standing.note(True), standing.is_failed] == [
        False, True, True, False,
    ]  # fmt: skip


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_a_side_is_left_exactly_when_the_threshold_is_reached(results: list[bool], rise: int, fall: int) -> None:
    standing = Standing(rise, fall)
    healthy = results[0]
    standing.note(healthy)
    for at in range(1, len(results)):
        standing.note(results[at])
        need = fall if healthy else rise
        run = results[max(0, at - need + 1) : at + 1]
        if len(run) == need and all(result is not healthy for result in run) and at >= need:
            healthy = not healthy
        assert standing.is_failed is not healthy
        assert 0 <= standing.streak < max(rise, fall)
