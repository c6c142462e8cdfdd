"""From configured routes to the table, and which of them can never win."""

from __future__ import annotations

import pytest

from shardproxy.config.matches import literal_prefix
from shardproxy.config.schema import Match, Route
from shardproxy.routing.compile import compile_routes


def prefix(path: str, *hosts: str) -> Route:
    return Route(match=Match(prefix=path, hosts=hosts), cluster="app")


def exact(path: str, *hosts: str) -> Route:
    return Route(match=Match(path=path, hosts=hosts), cluster="app")


def test_the_tables_indices_are_those_of_the_routes() -> None:
    table = compile_routes([exact("/health"), prefix("/v1", "api.example.com"), prefix("/", "*.Example.com")])
    assert table.match(b"api.example.com", b"/v1/users") == 1
    assert table.match(b"api.example.com:443", b"/v2") == 2
    assert table.match(b"localhost", b"/health") == 0
    assert table.match(b"localhost", b"/") == -1


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        ("/v1/.*", "/v1/"),
        ("/v1?", "/v"),
        ("/v1*", "/v"),
        ("/v1{2}", "/v"),
        ("/v1+", "/v1"),
        ("^/a", "/a"),
        ("/a|/b", ""),
        ("(?i)/a", ""),
        (r"/a\.b", "/a"),
        ("/a[0-9]", "/a"),
    ],
)
def test_a_pattern_is_found_by_what_it_begins_with(pattern: str, literal: str) -> None:
    assert literal_prefix(pattern) == literal


def test_a_path_prefix_ends_at_a_segment() -> None:
    for written in ("/api", "/api/"):
        table = compile_routes([Route(match=Match(path_prefix=written), cluster="app")])
        assert [table.match(b"", path) for path in (b"/api", b"/api/", b"/api/x", b"/apix")] == [0, 0, 0, -1]
    everything = compile_routes([Route(match=Match(path_prefix="/"), cluster="app")])
    assert [everything.match(b"", path) for path in (b"/", b"/x")] == [0, 0]
