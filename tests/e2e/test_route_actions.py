"""Redirects, direct responses, rewrites, edits of fields, and weighted clusters, through the real proxy."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxykit import Proxy, exchange, origins, proxy, scripted_origin

CONFIGURATION = """
workers: 2
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    normalize_path: true
    routes:
      - {match: {prefix: /old/}, redirect: {scheme: https, host: new.test, prefix: /new/, status: 308}}
      - {match: {path: /login}, redirect: {path: /account, strip_query: true}}
      - {match: {path_prefix: /moved}, redirect: {port: 8443}}
      - {match: {path: /robots.txt}, response: {status: 200, body: "User-agent: *"}}
      - {match: {path: /gone}, response: {status: 410}, response_headers: {set: [{name: X-Why, value: "{status}"}]}}
      - match: {path_prefix: /api}
        cluster: echo
        rewrite: {prefix: /, host: inner.test}
        request_headers:
          set: [{name: X-Client, value: "<{client_ip}> {method} {path} {{{host}}}"}]
          add: [{name: X-Tag, value: ours}]
          remove: [X-Debug]
        response_headers:
          set: [{name: Server, value: "edge {status}"}]
          add: [{name: X-Cluster, value: "{cluster}"}]
          remove: [X-Secret]
      - match: {prefix: /img/}
        cluster: echo
        rewrite: {regex: {pattern: "^/img/([a-z]+)", substitution: '/images/\\1'}}
      - {match: {path: /split}, clusters: [{cluster: blue, weight: 90}, {cluster: green, weight: 10}]}
      - match: {path: /sticky}
        clusters: [{cluster: blue, weight: 1}, {cluster: green, weight: 1}]
        sticky: [{header: X-User}, {cookie: {name: side, ttl: 1h}}]
      - match: {path: /retried}
        clusters: [{cluster: nobody}]
        retry: {on: [connect-failure], attempts: 1, backoff: {base: 1ms}}
clusters:
  - {name: echo, endpoints: [ECHO]}
  - {name: blue, endpoints: [BLUE]}
  - {name: green, endpoints: [GREEN]}
  - {name: nobody, endpoints: ["127.0.0.1:1"]}
"""


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with the head that it got."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        fields = b"Server: origin\r\nX-Secret: 1\r\n"
        writer.write(b"HTTP/1.1 201 Created\r\n%bContent-Length: %d\r\n\r\n%b" % (fields, len(head), head))
        await writer.drain()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with scripted_origin(echo) as at, origins(0, 0) as (blue, green):
        text = CONFIGURATION.replace("ECHO", at).replace("BLUE", blue).replace("GREEN", green)
        with proxy(Path(tmp_path_factory.mktemp("actions")), text) as started:
            yield started


def ask(running: Proxy, target: str, *fields: str, method: str = "GET", version: str = "1.1") -> tuple[str, bytes]:
    """Status line and fields, and the body."""
    lines = [f"{method} {target} HTTP/{version}", "Host: a.test:81", "Connection: close", *fields, "", ""]
    head, _, body = exchange(running.port, "\r\n".join(lines).encode()).partition(b"\r\n\r\n")
    return head.decode() + "\r\n", body


def field(head: str, name: str) -> list[str]:
    lines = [line.partition(": ") for line in head.split("\r\n")[1:]]
    return [value for key, _, value in lines if key.lower() == name.lower()]


@pytest.mark.parametrize(
    ("target", "status", "location"),
    [
        ("/old/a/b?x=1", "308", "https://new.test/new/a/b?x=1"),
        ("/login?next=/x", "301", "http://a.test:81/account"),
        ("/moved/here", "301", "http://a.test:8443/moved/here"),
        ("/old//evil.test/x", "308", "https://new.test/new//evil.test/x"),
        ("http://other.test/old/a", "308", "https://new.test/new/a"),
    ],
)
def test_a_redirect_keeps_what_it_does_not_change(running: Proxy, target: str, status: str, location: str) -> None:
    host = ("Host: other.test",) if target.startswith("http:") else ()
    lines = [f"GET {target} HTTP/1.1", *(host or ("Host: a.test:81",)), "Connection: close", "", ""]
    head = exchange(running.port, "\r\n".join(lines).encode()).partition(b"\r\n\r\n")[0].decode()
    assert (head[9:12], field(head, "Location"), field(head, "Content-Length")) == (status, [location], ["0"])


def test_a_redirect_without_a_host_to_name_cannot_lead_to_another(running: Proxy) -> None:
    answer = exchange(running.port, b"GET /moved//evil.test HTTP/1.0\r\n\r\n")
    assert field(answer.decode(), "Location") == ["/moved//evil.test"]


def test_a_response_of_the_route_needs_no_endpoint(running: Proxy) -> None:
    head, body = ask(running, "/robots.txt")
    assert (head[9:12], body, field(head, "Content-Type")) == ("200", b"User-agent: *", ["text/plain; charset=utf-8"])
    head, body = ask(running, "/robots.txt", method="HEAD")
    assert (field(head, "Content-Length"), body) == (["13"], b"")
    head, body = ask(running, "/gone")
    assert (head[9:12], field(head, "X-Why"), body) == ("410", ["410"], b"")


def test_the_connection_stays_open_behind_a_response_of_the_route(running: Proxy) -> None:
    request = b"GET /gone HTTP/1.1\r\nHost: a\r\n\r\n"
    last = b"GET /gone HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert exchange(running.port, 2 * request + last).count(b"HTTP/1.1 410 Gone\r\n") == 3


def test_a_request_with_a_body_that_is_redirected_does_not_confuse_the_next(running: Proxy) -> None:
    body = b"GET /robots.txt HTTP/1.1\r\nHost: a\r\n\r\n"
    head = b"POST /gone HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (len(body) + 100_000)
    answer = exchange(running.port, head + body + b"x" * 100_000)
    assert answer.count(b"HTTP/1.1 ") == 1


def test_endpoints_are_asked_for_the_rewritten_path_and_host(running: Proxy) -> None:
    for target, path in (("/api/users?q=1", "/users?q=1"), ("/api", "/"), ("/api/", "/"), ("/api/a/../b", "/b")):
        _, got = ask(running, target)
        assert got.startswith(f"GET {path} HTTP/1.1\r\nHost: inner.test\r\n".encode())
        assert field(got.decode(), "X-Forwarded-Host") == ["a.test:81"]
    _, got = ask(running, "/img/cats/1.png")
    assert got.startswith(b"GET /images/cats/1.png HTTP/1.1\r\n")


def test_fields_of_requests_are_set_added_and_removed(running: Proxy) -> None:
    _, got = ask(running, "/api/x", "X-Client: forged", "X-Tag: theirs", "X-Debug: 1", method="PUT")
    head = got.decode()
    assert field(head, "X-Client") == ["<127.0.0.1> PUT /api/x {a.test:81}"]
    assert field(head, "X-Tag") == ["theirs", "ours"]
    assert field(head, "X-Debug") == []


def test_fields_of_responses_are_set_added_and_removed(running: Proxy) -> None:
    head, _ = ask(running, "/api/x")
    assert (field(head, "Server"), field(head, "X-Cluster"), field(head, "X-Secret")) == (["edge 201"], ["echo"], [])


def test_requests_are_shared_by_weight(running: Proxy) -> None:
    seen = Counter(ask(running, "/split")[1] for _ in range(300))
    assert 10 <= min(seen.values()) <= 55, "10 % of 300, within four standard deviations"


def test_a_user_stays_with_one_cluster(running: Proxy) -> None:
    first = {user: ask(running, "/sticky", f"X-User: {user}")[1] for user in range(30)}
    assert len(set(first.values())) == 2
    assert {user: ask(running, "/sticky", f"X-User: {user}")[1] for user in range(30)} == first


def test_who_is_unknown_gets_a_cookie_and_stays_where_it_was(running: Proxy) -> None:
    for _ in range(10):
        head, body = ask(running, "/sticky")
        (cookie,) = field(head, "Set-Cookie")
        assert "HttpOnly" in cookie
        again, where = ask(running, "/sticky", f"Cookie: {cookie.partition(';')[0]}")
        assert (where, field(again, "Set-Cookie")) == (body, [])


def test_retries_of_a_weighted_route_have_the_budget_of_the_cluster_that_was_chosen(running: Proxy) -> None:
    assert ask(running, "/retried")[0].startswith("HTTP/1.1 502 ")
    cluster = running.stats()["clusters"]["nobody"]
    assert (cluster["retries"], cluster["retries_active"]) == (1, 0)
