from __future__ import annotations

import pytest

from shardproxy.controller.reasons import Reason, Why


@pytest.mark.parametrize("why", list(Why))
def test_a_reason_fits_in_a_cell_and_comes_back(why: Why) -> None:
    reason = Reason(why, 503)
    assert reason.encode() < 1 << 32
    assert Reason.decode(reason.encode()) == reason


def test_a_reason_of_another_version_says_nothing() -> None:
    assert str(Reason.decode(999 << 16)) == ""


def test_what_was_never_decided_says_nothing() -> None:
    assert Reason.decode(0) == Reason(Why.NOTHING)


def test_the_status_is_in_the_words() -> None:
    assert str(Reason(Why.STATUS, 503)) == "answered 503"
