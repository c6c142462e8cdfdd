"""Routes by all that a request is, through the real proxy: the first one that takes it, of the most specific host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxykit import Proxy, exchange, origins, proxy

CONFIGURATION = """
workers: 2
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    trusted_proxies: [127.0.0.0/8]
    routes:
      - {match: {hosts: ["api.*"], prefix: /}, cluster: host}
      - {match: {path: /x, methods: [POST, PURGE]}, cluster: method}
      - {match: {path: /x, headers: [{name: X-Plan, exact: gold}, {name: X-Old, invert: true}]}, cluster: header}
      - {match: {path: /x, query: [{name: v, regex: "[0-9]+"}]}, cluster: query}
      - {match: {path: /x, cookies: [{name: lang, prefix: de}]}, cluster: cookie}
      - {match: {path: /x, networks: [203.0.113.0/24]}, cluster: network}
      - {match: {path: /x}, cluster: rest}
      - {match: {path_prefix: /docs}, cluster: segment}
      - {match: {template: "/users/{id}/posts"}, cluster: template}
      - {match: {regex: "/v[0-9]+/.*"}, cluster: pattern}
      - {match: {path: /canary, share: {of: 20%, header: X-User}}, cluster: canary}
      - {match: {path: /canary}, cluster: rest}
clusters:
"""
CLUSTERS = (
    "host", "method", "header", "query", "cookie", "network", "rest", "segment", "template", "pattern", "canary"
)  # fmt: skip


class Site:
    def __init__(self, running: Proxy, names: dict[bytes, str]) -> None:
        self.running, self.names = running, names

    def ask(self, target: str, *fields: str, method: str = "GET", host: str = "a.test") -> str:
        """The cluster that answered, or the status."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", "Content-Length: 0", *fields]
        answer = exchange(self.running.port, "\r\n".join([*lines, "", ""]).encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        return self.names[body.strip()] if head.startswith(b"HTTP/1.1 200") else head[9:12].decode()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with origins(*(0 for _ in CLUSTERS)) as addresses:
        lines = [f"  - {{name: {name}, endpoints: [{at}]}}\n" for name, at in zip(CLUSTERS, addresses, strict=True)]
        names = {at.rpartition(":")[2].encode(): name for name, at in zip(CLUSTERS, addresses, strict=True)}
        with proxy(Path(tmp_path_factory.mktemp("routes")), CONFIGURATION + "".join(lines)) as running:
            yield Site(running, names)


@pytest.mark.parametrize(
    ("target", "fields", "cluster"),
    [
        ("/x", (), "rest"),
        ("/x", ("X-Plan: gold",), "header"),
        ("/x", ("x-plan: gold", "X-Old: 1"), "rest"),
        ("/x", ("X-Plan: golden",), "rest"),
        ("/x?v=12", (), "query"),
        ("/x?v=12a", (), "rest"),
        ("/x?a=1&v=7&v=x", (), "query"),
        ("/x", ("Cookie: a=b; lang=de-AT",), "cookie"),
        ("/x", ("Cookie: lang=en",), "rest"),
        ("/x", ("X-Forwarded-For: 203.0.113.77",), "network"),
        ("/x", ("X-Forwarded-For: 203.0.114.77",), "rest"),
        ("/x?v=1", ("X-Plan: gold",), "header"),
        ("/docs", (), "segment"),
        ("/docs/a/b", (), "segment"),
        ("/docsx", (), "404"),
        ("/users/7/posts", (), "template"),
        ("/users/7/posts?v=1", (), "template"),
        ("/users//posts", (), "404"),
        ("/users/7/8/posts", (), "404"),
        ("/v2/x", (), "pattern"),
        ("/vx/x", (), "404"),
    ],
)
def test_a_request_takes_the_first_route_that_wants_it(
    site: Site, target: str, fields: tuple[str, ...], cluster: str
) -> None:
    assert site.ask(target, *fields) == cluster


def test_a_route_may_want_some_methods_only(site: Site) -> None:
    assert [site.ask("/x", method=method) for method in ("POST", "PURGE", "PUT", "post", "PURG")] == [
        "method", "method", "rest", "rest", "rest"
    ]  # fmt: skip


def test_a_host_that_begins_so_has_its_own_routes(site: Site) -> None:
    assert [site.ask("/x", host=host) for host in ("api.example:80", "API.b.test", "xapi.test")] == [
        "host", "host", "rest"
    ]  # fmt: skip


def test_a_canary_gets_its_share_of_users_and_each_user_always_the_same(site: Site) -> None:
    first = {user: site.ask("/canary", f"X-User: {user}") for user in range(400)}
    assert {user: site.ask("/canary", f"X-User: {user}") for user in range(0, 400, 7)} == {
        user: first[user] for user in range(0, 400, 7)
    }
    assert 50 <= Counter(first.values())["canary"] <= 115, "20 % of 400, within four standard deviations"
    assert site.ask("/canary") == "rest", "who does not say who it is"
