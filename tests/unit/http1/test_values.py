"""Single values in a request's head: of fields, cookies and query parameters."""

from __future__ import annotations

from typing import Literal

import pytest

from shardproxy.http1.head import Head
from shardproxy.http1.values import value_of


def head(target: bytes, *fields: bytes) -> Head:
    read = Head()
    assert read.read(b"\r\n".join((b"GET %b HTTP/1.1" % target, b"Host: a.test", *fields, b"", b""))) == "ok"
    return read


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("header", b"x-key", b"first"),
        ("header", b"x-ke", None),
        ("header", b"x-empty", b""),
        ("cookie", b"a", b"1"),
        ("cookie", b"b", b'"two words"'),
        ("cookie", b"c", b"3=4"),
        ("cookie", b"d", b"last"),
        ("cookie", b"A", None),
        ("cookie", b"bb", None),
        ("query", b"q", b"x%20y"),
        ("query", b"flag", b""),
        ("query", b"empty", b""),
        ("query", b"z", b"9"),
        ("query", b"x", None),
    ],
)
def test_a_value_is_found_by_its_name(
    kind: Literal["header", "cookie", "query"], name: bytes, value: bytes | None
) -> None:
    request = head(
        b"/x?q=x%20y&flag&empty=&q=second&z=9",
        b"X-KEY: first",
        b"x-key: second",
        b"X-Empty:",
        b'Cookie: a=1;b="two words" ; c=3=4',
        b"Cookie:d=last",
    )
    assert value_of(request, kind, name) == value


@pytest.mark.parametrize("target", [b"/", b"/?", b"/?a", b"/?&&=", b"http://a.test/p?"])
def test_a_query_without_the_parameter_has_none(target: bytes) -> None:
    assert value_of(head(target), "query", b"k") is None
