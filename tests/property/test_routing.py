"""The table finds what a plain search through all routes finds; the check names just the routes that nobody reaches."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hypothesis import given
from hypothesis import strategies as st

from shardproxy.config.check_routes import every_route_can_win
from shardproxy.config.matches import is_conditional
from shardproxy.config.schema import Cluster, Config, Endpoint, Listener, Match, Route
from shardproxy.config.units import Address
from shardproxy.routing.compile import compile_routes

UNUSED_LABEL = b"zz"
UNUSED_BYTE = b"~"

labels = st.sampled_from(["a", "b", "com"])
names = st.lists(labels, min_size=1, max_size=3).map(".".join)
ends = st.sampled_from(["{}", "*.{}", "{}.*"])
patterns = st.builds(str.format, ends, names) | st.just("[::1]")
paths = st.text("/ab1", max_size=6).map("/".__add__)
templates = st.lists(st.sampled_from(["a", "b", "{}"]), min_size=1, max_size=3).map(
    lambda segments: "".join(f"/{{p{n}}}" if one == "{}" else f"/{one}" for n, one in enumerate(segments))
)
endings = st.sampled_from(["", ".", ":", ":80", ".:65535"])
cases = st.sampled_from([str.lower, str.upper, str.title])
requested_hosts = st.builds(
    lambda pattern, below, ending, case: case(pattern.replace("*.", below).replace(".*", ".b") + ending).encode(),
    patterns | st.just(""),
    st.sampled_from(["", ".", "a.", "b.a.", "x.com."]),
    endings,
    cases,
)
kinds = st.one_of(
    st.builds(lambda path: {"prefix": path}, paths),
    st.builds(lambda path: {"path": path}, paths),
    st.builds(lambda path: {"path_prefix": path}, paths),
    st.builds(lambda template: {"template": template}, templates),
    st.builds(lambda path: {"regex": path.replace("1", "[a1]*")}, paths),
)
matches = st.builds(
    lambda hosts, kind, methods: Match(hosts=hosts, methods=methods, **kind),
    st.lists(patterns, max_size=3).map(tuple),
    kinds,
    st.sampled_from([(), (), ("GET",)]),
)
routes = st.lists(st.builds(Route, match=matches, cluster=st.just("app")), max_size=12)
plain = st.builds(
    lambda hosts, kind: Match(hosts=hosts, **kind),
    st.lists(patterns, max_size=3).map(tuple),
    kinds.filter(lambda kind: not kind.keys() & {"template", "regex", "path_prefix"}),
)
plain_routes = st.lists(st.builds(Route, match=plain, cluster=st.just("app")), max_size=12)


def takes(match: Match, path: bytes) -> bool:
    """Whether the table has to offer this route for the path: of a pattern, what it begins with is enough."""
    if match.prefix is not None:
        return path.startswith(match.prefix.encode())
    if match.path_prefix is not None:
        whole = match.path_prefix.rstrip("/").encode()
        return path == whole or path.startswith(whole + b"/")
    if match.template is not None:
        return re.fullmatch(re.sub(r"\{.*?\}", "[^/]+", match.template).encode(), path, re.DOTALL) is not None
    if match.regex is not None:
        return path.startswith(match.regex.partition("[")[0].encode())
    return path == (match.path or "").encode()


def plain_search(routes: Sequence[Route], host: bytes, path: bytes) -> list[int]:
    """The rule as it is written down: group by group, and in each from the first route on, up to one that asks for
    nothing more."""
    found: list[int] = []
    for pattern in groups_of(name_of(host)):
        for order, route in enumerate(routes):
            hosts = [name.encode() for name in route.match.hosts]
            if (pattern in hosts if pattern else not hosts) and takes(route.match, path):
                found.append(order)
                if not is_conditional(route.match):
                    return found
    return found


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
    for at in range(len(name) - 1, 0, -1):
        if name[at] == ord("."):
            yield name[:at] + b".*"
    yield b""


@given(routes, st.lists(requested_hosts, max_size=8), st.lists(paths, max_size=8))
def test_the_table_agrees_with_a_plain_search(configured: list[Route], hosts: list[bytes], others: list[str]) -> None:
    """For hosts near the configured ones, and for paths near those of the routes as well as for others."""
    table = compile_routes(configured)
    written = [re.sub(r"\{.*?\}|\[a1\]\*", "a", path_of(route.match)) for route in configured]
    for host in hosts:
        for path in [path.encode() for path in (*written, *others)]:
            expected = plain_search(configured, host, path)
            assert table.matches(host, path)[: len(expected)] == expected
            assert bool(table.matches(host, path)) == bool(expected)


@given(routes, st.binary(max_size=300), st.binary(max_size=20))
def test_no_bytes_upset_it(configured: list[Route], host: bytes, path: bytes) -> None:
    found = compile_routes(configured).match(host, path)
    assert -1 <= found < len(configured)
    if len(host) < 250:
        assert found == next(iter(plain_search(configured, host, path)), -1)


@given(routes, requested_hosts, paths)
def test_equal_tables_agree_whatever_their_seed(configured: list[Route], host: bytes, path: str) -> None:
    first, second = compile_routes(configured), compile_routes(configured)
    assert first.matches(host, path.encode()) == second.matches(host, path.encode())


@given(plain_routes)
def test_the_check_names_just_the_routes_that_no_request_reaches(configured: list[Route]) -> None:
    table = compile_routes(configured)
    reached = {
        index
        for index, route in enumerate(configured)
        if any(table.match(*seen) == index for seen in witnesses(route.match))
    }
    listener = Listener(bind=Address("127.0.0.1", 1), routes=tuple(configured))
    cluster = Cluster(name="app", endpoints=(Endpoint(address=Address("127.0.0.1", 2)),))
    found = every_route_can_win(Config(listeners=(listener,), clusters=(cluster,)))
    assert {path[3] for path, _ in found} == set(range(len(configured))) - reached


def path_of(match: Match) -> str:
    return match.prefix or match.path or match.path_prefix or match.template or match.regex or ""


def witnesses(match: Match) -> Iterator[tuple[bytes, bytes]]:
    """Requests that only this route's own group and path take, if anything is left of it for them."""
    path = path_of(match).encode()
    for host in [name.encode() for name in match.hosts] or [UNUSED_LABEL]:
        name = UNUSED_LABEL + host[1:] if host.startswith(b"*.") else host
        name = name[:-1] + UNUSED_LABEL if name.endswith(b".*") else name
        yield name, path + UNUSED_BYTE if match.prefix is not None else path
