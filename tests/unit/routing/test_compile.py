"""From configured routes to the table, and which of them can never win."""

from __future__ import annotations

import pytest

from shardproxy.config.schema import Match, Route
from shardproxy.routing.compile import compile_routes, shadowed


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
    ("routes", "expected"),
    [
        ([], []),
        ([prefix("/a"), prefix("/")], []),
        ([prefix("/"), prefix("/a")], [(1, 0)]),
        ([prefix("/a"), prefix("/a")], [(1, 0)]),
        ([prefix("/"), exact("/a")], [(1, 0)]),
        ([exact("/a"), exact("/a")], [(1, 0)]),
        ([exact("/a"), prefix("/a")], []),
        ([prefix("/v1"), prefix("/v1x")], [(1, 0)]),
        ([prefix("/a"), prefix("/"), prefix("/b"), exact("/a/b")], [(2, 1), (3, 0)]),
        ([prefix("/"), prefix("/", "a.example")], []),
        ([prefix("/", "a.example"), prefix("/a")], []),
        ([prefix("/", "*.example"), prefix("/", "a.example")], []),
        ([prefix("/", "a.example", "b.example"), prefix("/x", "b.example")], [(1, 0)]),
        ([prefix("/", "a.example"), prefix("/x", "a.example", "b.example")], []),
        ([prefix("/", "b.example"), prefix("/", "a.example"), prefix("/x", "a.example", "b.example")], [(2, 1)]),
        ([prefix("/", "A.example"), prefix("/", "a.example")], [(1, 0)]),
    ],
)
def test_a_route_is_shadowed_when_earlier_ones_take_all_it_could(
    routes: list[Route], expected: list[tuple[int, int]]
) -> None:
    assert shadowed(routes) == expected
