"""Limits that several machines share: how their store is written, and what they cannot have beside it."""

from __future__ import annotations

import pytest

from shardproxy.config import check_stores
from shardproxy.config.errors import ConfigErrors
from shardproxy.config.load import parse
from shardproxy.config.stores import Store, parse_store
from tests.unit.config.test_wrong_configurations import GOOD

PLACE = "x.yaml:9: rate_limits[0]"


def errors(limit: str) -> list[str]:
    """All that is wrong with `GOOD` when its limit says this."""
    try:
        parse(GOOD.replace("rate: 5/s", limit), "x.yaml", {})
    except ConfigErrors as wrong:
        return str(wrong).splitlines()
    return []


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra were here, whether it is or not."""
    monkeypatch.setattr(check_stores, "CLIENT", "json")


@pytest.mark.parametrize(
    ("text", "store"),
    [
        ("redis://10.0.0.9:6379", Store("10.0.0.9", 6379)),
        ("redis://redis.internal:6380/3", Store("redis.internal", 6380, 3)),
        ("redis://[2001:db8::9]:6379/1", Store("2001:db8::9", 6379, 1)),
    ],
)
def test_a_store_is_written_as_it_is_read(text: str, store: Store) -> None:
    assert parse_store(text) == store
    assert str(store) == text


@pytest.mark.parametrize("text", ["redis://h:0", "redis://h:65536", "rediss://h:1", "redis://h:1/x", "h:6379", "redis://:1"])
def test_what_is_no_store_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a store"):
        parse_store(text)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("limit", "wrong"),
    [
        ("rate: 8/s, store: 'redis://h:1'", []),
        ("rate: 8/s, store: 'redis://h:1', key: client_ip", [f"{PLACE}.store: is for limits without a key"]),
        ("rate: 8/s, store: 'redis://h:1', delay: 1s", [f"{PLACE}.delay: is for limits without a store"]),
        ("rate: 8/s, store_password_file: /p", [f"{PLACE}.store_password_file: is for limits with a store"]),
        ("rate: 7/s, store: 'redis://h:1'", [f"{PLACE}.store: a limit with a store needs a burst of 8 or more"]),
        (
            "rate: 9/s, burst: 1, store: 'redis://h:1'",
            [f"{PLACE}.burst: a limit with a store needs a burst of 8 or more"],
        ),
    ],
)
def test_what_a_limit_with_a_store_can_be(limit: str, wrong: list[str]) -> None:
    assert errors(limit) == wrong


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_stores, "CLIENT", "no_such_package")
    assert errors("rate: 8/s, store: 'redis://h:1'") == [
        f"{PLACE}.store: needs the package 'redis', which is not installed; pip install 'shardproxy[redis]'"
    ]
