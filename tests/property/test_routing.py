"""The table finds what a plain search through all routes finds; `shadowed` names just the routes nobody can reach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hypothesis import given
from hypothesis import strategies as st

from shardproxy.config.schema import Match, Route
from shardproxy.routing.compile import compile_routes, shadowed
from shardproxy.routing.table import Entry, Table

UNUSED_LABEL = b"zz"
UNUSED_BYTE = b"~"

labels = st.sampled_from(["a", "b", "com"])
names = st.lists(labels, min_size=1, max_size=3).map(".".join)
patterns = st.builds(str.__add__, st.sampled_from(["", "*."]), names) | st.just("[::1]")
paths = st.text("/ab1", max_size=6).map("/".__add__)
endings = st.sampled_from(["", ".", ":", ":80", ".:65535"])
cases = st.sampled_from([str.lower, str.upper, str.title])
requested_hosts = st.builds(
    lambda pattern, below, ending, case: case(pattern.replace("*.", below) + ending).encode(),
    patterns | st.just(""),
    st.sampled_from(["", ".", "a.", "b.a.", "x.com."]),
    endings,
    cases,
)
matches = st.builds(
    lambda hosts, path, is_prefix: Match(hosts=hosts, **{"prefix" if is_prefix else "path": path}),
    st.lists(patterns, max_size=3).map(tuple),
    paths,
    st.booleans(),
)
routes = st.lists(st.builds(Route, match=matches, cluster=st.just("app")), max_size=12)


def entries_of(configured: Sequence[Route]) -> list[Entry]:
    return [
        Entry(
            tuple(host.encode() for host in route.match.hosts),
            (route.match.prefix or route.match.path or "").encode(),
            is_prefix=route.match.prefix is not None,
        )
        for route in configured
    ]


def plain_search(entries: Sequence[Entry], host: bytes, path: bytes) -> int:
    """The rule as it is written down: group by group, and in each from the first route on."""
    for pattern in groups_of(name_of(host)):
        for order, entry in enumerate(entries):
            named = pattern in entry.hosts if pattern else not entry.hosts
            if named and (path.startswith(entry.path) if entry.is_prefix else path == entry.path):
                return order
    return -1


def name_of(host: bytes) -> bytes:
    before, colon, port = host.rpartition(b":")
    return (before if colon and not port.strip(b"0123456789") else host).removesuffix(b".").lower()


def groups_of(name: bytes) -> Iterator[bytes]:
    """Patterns that take a name, the most specific first; empty for any host."""
    if name:
        yield name
    for at, byte in enumerate(name):
        if byte == ord(".") and at > 0:
            yield b"*" + name[at:]
    yield b""


@given(routes, st.lists(requested_hosts, max_size=8), st.lists(paths, max_size=8))
def test_the_table_agrees_with_a_plain_search(configured: list[Route], hosts: list[bytes], others: list[str]) -> None:
    """For hosts near the configured ones, and for each path of a route as well as for others."""
    entries = entries_of(configured)
    table = Table(entries)
    asked = [entry.path for entry in entries] + [path.encode() for path in others]
    for host in hosts:
        for path in asked:
            assert table.match(host, path) == plain_search(entries, host, path)


@given(routes, st.binary(max_size=300), st.binary(max_size=20))
def test_no_bytes_upset_it(configured: list[Route], host: bytes, path: bytes) -> None:
    entries = entries_of(configured)
    found = Table(entries).match(host, path)
    assert -1 <= found < len(entries)
    if len(host) < 250:
        assert found == plain_search(entries, host, path)


@given(routes, requested_hosts, paths)
def test_equal_tables_agree_whatever_their_seed(configured: list[Route], host: bytes, path: str) -> None:
    first, second = compile_routes(configured), compile_routes(configured)
    assert first.match(host, path.encode()) == second.match(host, path.encode())


@given(routes)
def test_shadowed_names_just_the_routes_that_no_request_reaches(configured: list[Route]) -> None:
    entries, table = entries_of(configured), compile_routes(configured)
    reached = {
        index for index, entry in enumerate(entries) if any(table.match(*seen) == index for seen in witnesses(entry))
    }
    assert {index for index, _ in shadowed(configured)} == set(range(len(entries))) - reached
    assert all(by < index for index, by in shadowed(configured))


def witnesses(entry: Entry) -> Iterator[tuple[bytes, bytes]]:
    """Requests that only this route's own group and path take, if anything is left of it for them."""
    for host in entry.hosts or (UNUSED_LABEL,):
        name = UNUSED_LABEL + host[1:] if host.startswith(b"*.") else host
        yield name, entry.path + UNUSED_BYTE if entry.is_prefix else entry.path
