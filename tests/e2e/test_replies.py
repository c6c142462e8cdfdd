"""What the proxy answers in its own name: status, words, and what becomes of the connection."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from tests.e2e.peers import Answer, Client, Origin, recording_origin, says, says_when
from tests.proxykit import Proxy, eventually, free_port, proxy

CONFIGURATION = """
workers: 1
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    max_body: 64KiB
    max_head: 8KiB
    max_fields: 20
    routes:
      - {match: {prefix: /app}, cluster: app}
      - {match: {prefix: /limited}, cluster: app, rate_limits: [once]}
      - {match: {prefix: /nobody}, cluster: nobody}
      - {match: {prefix: /single}, cluster: single}
clusters:
  - {name: app, endpoints: [ORIGIN]}
  - {name: single, max_requests: 1, endpoints: [ORIGIN]}
  - {name: nobody, endpoints: ["127.0.0.1:NOBODY"]}
rate_limits:
  - {name: once, rate: 1/m, burst: 1}
"""
BOTH_LENGTHS = b"POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with recording_origin() as recording:
        yield recording


@pytest.fixture(scope="module")
def running(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    text = CONFIGURATION.replace("ORIGIN", origin.address).replace("NOBODY", str(free_port()))
    with proxy(tmp_path_factory.mktemp("replies"), text) as started:
        yield started


@pytest.fixture
def client(running: Proxy) -> Iterator[Client]:
    with Client(running.port) as connected:
        yield connected


def assert_ours(answer: Answer, status: int, reason: str) -> None:
    """A reply of the proxy's own: both the field and the JSON body name the reason."""
    assert (answer.status, answer.values("x-shardproxy-reason")) == (status, [reason])
    assert answer.values("content-type") == ["application/json"]
    assert reason in json.dumps(json.loads(answer.body))


@pytest.mark.parametrize(
    ("request_head", "status", "reason"),
    [
        (b"GET /app HTTP/1.1\r\n\r\n", 400, "bad_host"),
        (BOTH_LENGTHS, 400, "ambiguous_length"),
        (b"GET /app HTTP/2.0\r\nHost: a\r\n\r\n", 505, "bad_version"),
        (b"GET /app HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431, "head_too_large"),
        (b"GET /app HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 20 + b"\r\n", 431, "head_too_large"),
        (b"GET /app" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "target_too_long"),
        (b"POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n", 413, "body_too_large"),
        (b"POST /app HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "bad_chunk"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused_and_the_connection_closed(
    request_head: bytes, status: int, reason: str, client: Client
) -> None:
    client.socket.sendall(request_head)
    answer = client.read()
    assert_ours(answer, status, reason)
    assert answer.values("connection") == ["close"]
    assert client.is_closed()


@pytest.mark.parametrize(
    ("path", "status", "reason"), [("/elsewhere", 404, "no_route"), ("/nobody", 502, "connect_failed")]
)
def test_a_request_that_cannot_be_served_does_not_cost_the_connection(
    path: str, status: int, reason: str, client: Client
) -> None:
    answer = client.get(path)
    assert_ours(answer, status, reason)
    assert answer.values("connection") == []
    assert client.get("/app").status == 200


def test_our_own_answer_to_head_has_no_body_and_says_how_long_it_would_be(client: Client) -> None:
    answer = client.ask("HEAD /elsewhere HTTP/1.1")
    assert answer.status == 404
    assert int(answer.values("content-length")[0]) > 0
    assert client.get("/app").status == 200


def test_over_the_rate_limit_is_429_and_says_when_to_come_back(client: Client) -> None:
    assert client.get("/limited").status == 200
    answer = client.get("/limited")
    assert_ours(answer, 429, "rate_limited")
    assert 1 <= int(answer.values("retry-after")[0]) <= 60
    assert client.get("/app").status == 200


def test_more_requests_than_a_cluster_may_have_are_503(client: Client, running: Proxy, origin: Origin) -> None:
    go_on = threading.Event()
    origin.plays["/single"] = says_when(go_on, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    with Client(running.port) as first:
        first.send("GET /single HTTP/1.1")
        eventually(lambda: origin.of("/single"), "the first request at the origin")
        answer = client.get("/single")
        go_on.set()
        assert first.read().status == 200
    assert_ours(answer, 503, "overflow")
    assert client.get("/single").status == 200


@pytest.mark.parametrize("then", ["close", "reset"])
def test_an_origin_that_goes_without_an_answer_is_502(then: str, client: Client, origin: Origin) -> None:
    origin.plays["/app/gone"] = says(then=then)
    assert_ours(client.get("/app/gone"), 502, "upstream_gone")
    assert client.get("/app").status == 200


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n",
    ],
)
def test_an_answer_that_is_not_http_is_502(answer: bytes, client: Client, origin: Origin) -> None:
    origin.plays["/app/odd"] = says(answer)
    assert_ours(client.get("/app/odd"), 502, "bad_response")
    assert client.get("/app").status == 200


def test_a_client_that_is_still_sending_can_read_why_it_was_refused(client: Client) -> None:
    client.send("POST /app HTTP/1.1", "Content-Length: 500000", body=b"x" * 500_000)
    answer = client.read()
    assert_ours(answer, 413, "body_too_large")
    assert client.is_closed()


def test_a_chunked_body_is_refused_as_soon_as_it_is_too_large(client: Client, origin: Origin) -> None:
    client.send("POST /app/chunks HTTP/1.1", "Transfer-Encoding: chunked", body=b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
    client.socket.sendall(b"8001\r\n" + b"x" * 0x8001 + b"\r\n")
    assert_ours(client.read(), 413, "body_too_large")
    assert client.is_closed()
    assert origin.of("/app/chunks") == []


def test_a_refused_request_with_a_body_does_not_leave_its_body_as_the_next_request(client: Client) -> None:
    hidden = b"GET /app HTTP/1.1\r\nHost: app.test\r\n\r\n"
    client.send("POST /elsewhere HTTP/1.1", f"Content-Length: {len(hidden)}", body=hidden)
    assert_ours(client.read(), 404, "no_route")
    assert client.is_closed() or client.get("/app").status == 200
