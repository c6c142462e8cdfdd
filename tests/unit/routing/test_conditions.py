"""What a route asks of a request beyond host and path; above all, what happens when that cannot be found out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.http1.head import Head
from shardproxy.routing.compile import pattern_of
from shardproxy.routing.conditions import Conditions, ConditionSpec

if TYPE_CHECKING:
    from shardproxy.routing.conditions import Source

SOURCES: tuple[Source, ...] = ("header", "query", "cookie")
TESTS = {"present": b"", "exact": b"green", "prefix": b"gr", "suffix": b"en", "contains": b"ree"}

FIELD_BYTES = bytes([*range(0x21, 0x7F), *range(0x80, 0x100)])


class Broken:
    """A pattern that fails whatever it is tried on."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def fullmatch(self, text: bytes) -> None:
        raise self.error


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of exceptions that could be raised to no caller."""
    kinds: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda event: kinds.append(event.exc_type.__name__))
    return kinds


def request(value: bytes | None, source: Source = "header") -> Head:
    """A request whose `colour` is `value`, in a field, a parameter or a cookie."""
    target = b"/?colour=%b" % value if value is not None and source == "query" else b"/"
    fields = b"Host: a.test\r\n"
    if value is not None and source != "query":
        fields += b"Colour: %b\r\n" % value if source == "header" else b"Cookie: colour=%b\r\n" % value
    head = Head()
    assert head.read(b"GET %b HTTP/1.1\r\n%b\r\n" % (target, fields)) == "ok"
    return head


def condition(test: str, wanted: Any, *, inverted: bool, source: Source = "header") -> Conditions:
    return Conditions([ConditionSpec(source, b"colour", test, wanted, inverted)])


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("test", [*TESTS, "regex"])
def test_an_inverted_condition_takes_exactly_what_the_condition_does_not(source: Source, test: str) -> None:
    wanted = pattern_of("gre+n") if test == "regex" else TESTS[test]
    for value in (b"green", b"blue", None):
        holds = value == b"green" or (test == "present" and value is not None)
        head = request(value, source)
        assert condition(test, wanted, inverted=False, source=source).takes(head) is holds
        assert condition(test, wanted, inverted=True, source=source).takes(head) is not holds


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("error", [MemoryError(), ValueError("too dear"), KeyboardInterrupt()])
def test_a_pattern_that_fails_is_no_match_of_the_route_inverted_or_not(
    source: Source, inverted: bool, error: BaseException, lost: list[str]
) -> None:
    broken = condition("regex", Broken(error), inverted=inverted, source=source)
    assert not broken.takes(request(b"green", source))
    assert lost == [type(error).__name__]


def test_no_pattern_is_tried_on_a_value_that_is_not_there(lost: list[str]) -> None:
    assert condition("regex", Broken(MemoryError()), inverted=True).takes(request(None))
    assert lost == []


def test_the_pattern_of_a_path_that_fails_is_no_match(lost: list[str]) -> None:
    assert not Conditions(path_pattern=Broken(MemoryError())).takes(request(None), b"/green")
    assert lost == ["MemoryError"]


def test_one_pattern_that_fails_spoils_the_conditions_that_hold(lost: list[str]) -> None:
    both = [
        ConditionSpec("header", b"colour", "exact", b"green", False),
        ConditionSpec("header", b"colour", "regex", Broken(MemoryError()), True),
        ConditionSpec("header", b"colour", "present", b"", False),
    ]
    assert not Conditions(both).takes(request(b"green"))
    assert lost == ["MemoryError"]


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize(
    "value",
    [
        b"admin\xff",
        b"\xc3",
        b"\xc0\xae",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe0\x9f\xbf",
        b"a\x80",
        b"\xf0\x8f\xbf\xbf",
    ],
)
def test_no_client_gets_past_an_inverted_pattern_with_bytes_that_are_no_utf_8(
    value: bytes, inverted: bool, lost: list[str]
) -> None:
    assert not condition("regex", pattern_of("(?s).*admin.*"), inverted=inverted).takes(request(value))
    assert lost == []


@given(
    st.lists(st.sampled_from(FIELD_BYTES), min_size=1, max_size=8).map(bytes)
    | st.text("aé€😀", min_size=1).map(str.encode)
)
def test_a_pattern_for_everything_takes_exactly_what_is_utf_8(value: bytes) -> None:
    everything = condition("regex", pattern_of("(?s).*"), inverted=False)
    assert everything.takes(request(value)) is decodes(value)
    assert not condition("regex", pattern_of("(?s).*"), inverted=True).takes(request(value))


@pytest.mark.parametrize("method", [b"PURGE", b"purge", b"PURG", b"PURGED", b"REPORT"])
def test_methods_that_the_proxy_does_not_know_are_compared_byte_by_byte(method: bytes) -> None:
    head = Head()
    assert head.read(b"%b / HTTP/1.1\r\nHost: a.test\r\n\r\n" % method) == "ok"
    assert Conditions(methods=[b"GET", b"REPORT", b"PURGE"]).takes(head) is (method in (b"PURGE", b"REPORT"))


def decodes(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
