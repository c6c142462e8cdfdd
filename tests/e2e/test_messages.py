"""What of a message goes on, in which form, and in which order."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator

import pytest

from tests.e2e.peers import OK, Client, Origin, recording_origin, says
from tests.proxykit import Proxy, proxy

CONFIGURATION = """
workers: 1
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - {name: app, endpoints: [ORIGIN]}
"""
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
CLOSED = b"HTTP/1.1 200 OK\r\n\r\nhello world"


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with recording_origin() as recording:
        yield recording


@pytest.fixture(scope="module")
def running(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("messages")
    with proxy(folder, CONFIGURATION.replace("ORIGIN", origin.address)) as started:
        yield started


@pytest.fixture
def client(running: Proxy) -> Iterator[Client]:
    with Client(running.port) as connected:
        yield connected


@pytest.mark.parametrize("framed", ["length", "chunked"])
def test_a_request_body_arrives_whole_and_framed_as_it_was(framed: str, client: Client, origin: Origin) -> None:
    body = bytes(range(256)) * 300
    if framed == "length":
        client.ask(f"POST /up-{framed} HTTP/1.1", f"Content-Length: {len(body)}", body=body)
    else:
        pieces = [body[i : i + 10_000] for i in range(0, len(body), 10_000)]
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        client.ask(f"POST /up-{framed} HTTP/1.1", "Transfer-Encoding: chunked", body=chunks)
    seen = origin.only(f"/up-{framed}")
    assert seen.body == body
    assert bool(seen.values("content-length")) == (framed == "length")
    assert bool(seen.values("transfer-encoding")) == (framed == "chunked")


@pytest.mark.parametrize(
    ("version", "answer", "then", "framing"),
    [
        ("1.1", CHUNKED, "keep", "chunked"),
        ("1.0", CHUNKED, "keep", "close"),
        ("1.1", CLOSED, "close", "chunked"),
        ("1.0", CLOSED, "close", "close"),
        ("1.1", b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world", "keep", "length"),
        ("1.0", b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world", "keep", "length"),
        ("1.1", b"HTTP/1.0 200 OK\r\nContent-Length: 11\r\n\r\nhello world", "close", "length"),
    ],
)
def test_a_response_body_is_framed_as_the_clients_version_can_read_it(
    version: str, answer: bytes, then: str, framing: str, client: Client, origin: Origin
) -> None:
    origin.plays["/down"] = says(answer, then=then)
    got = client.ask(f"GET /down HTTP/{version}")
    assert (got.body, got.framing, got.is_whole) == (b"hello world", framing, True)


def test_a_client_of_http_1_0_may_ask_to_keep_its_connection(client: Client) -> None:
    answer = client.ask("GET /keep HTTP/1.0", "Connection: keep-alive")
    assert answer.values("connection") == ["keep-alive"]
    assert client.ask("GET /keep HTTP/1.0").values("connection") == ["close"]
    assert client.is_closed()


def test_fields_for_one_hop_only_are_cut_in_requests(client: Client, origin: Origin) -> None:
    cut = ("Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "X-Private: 1", "Upgrade: foo", "TE: gzip")
    client.get("/hop", "Connection: keep-alive, X-Private, TE", "X-Kept: 1", *cut)
    names = {name.lower() for name, _ in origin.only("/hop").fields}
    assert not names & {"keep-alive", "proxy-connection", "x-private", "upgrade", "te"}
    assert "x-kept" in names


def test_fields_for_one_hop_only_are_cut_in_responses(client: Client, origin: Origin) -> None:
    head = b"HTTP/1.1 200 OK\r\nConnection: X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\nX-Kept: 1\r\n"
    origin.plays["/hop-back"] = says(head + b"Content-Length: 2\r\n\r\nok")
    names = {name.lower() for name, _ in client.get("/hop-back").fields}
    assert not names & {"x-private", "keep-alive", "connection"}
    assert "x-kept" in names


def test_the_origin_is_told_who_asked_and_how(client: Client, origin: Origin) -> None:
    client.get("/told", "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https", "X-Request-Id: mine")
    seen = origin.only("/told")
    assert ", ".join(seen.values("x-forwarded-for")) == "192.0.2.7, 127.0.0.1"
    assert seen.values("x-forwarded-proto") == ["http"]
    assert seen.values("x-forwarded-host") == ["app.test"]
    assert seen.values("host") == ["app.test"]
    assert seen.values("via") == []


def test_every_request_gets_a_fresh_uuid(client: Client, origin: Origin) -> None:
    for _ in range(20):
        client.get("/uuid")
    ids = [value for seen in origin.of("/uuid") for value in seen.values("x-request-id")]
    assert len(ids) == len(set(ids)) == 20
    assert all(str(uuid.UUID(value)) == value and uuid.UUID(value).version == 4 for value in ids)


def test_pipelined_requests_are_answered_in_order(client: Client, origin: Origin) -> None:
    for i in range(50):
        origin.plays[f"/pipe{i}"] = says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%d" % (len(str(i)), i))
    client.socket.sendall(b"".join(b"GET /pipe%d HTTP/1.1\r\nHost: app.test\r\n\r\n" % i for i in range(50)))
    assert [client.read().body for _ in range(50)] == [str(i).encode() for i in range(50)]


def test_a_pipelined_body_is_not_taken_for_the_next_request(client: Client, origin: Origin) -> None:
    hidden = b"GET /hidden HTTP/1.1\r\nHost: app.test\r\n\r\n"
    client.send("POST /outer HTTP/1.1", f"Content-Length: {len(hidden)}", body=hidden)
    client.send("GET /after HTTP/1.1")
    assert [client.read().status, client.read().status] == [200, 200]
    assert origin.only("/outer").body == hidden
    assert origin.of("/hidden") == []


def test_a_request_that_comes_byte_by_byte_is_one_request(client: Client, origin: Origin) -> None:
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in b"POST /drip HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n":
        client.socket.sendall(bytes((byte,)))
    assert client.read().status == 200
    assert origin.only("/drip").body == b"abc"


def test_a_client_that_expects_100_continue_is_told_to_go_on_by_the_origin(client: Client, origin: Origin) -> None:
    origin.early["/expect"] = says(b"HTTP/1.1 100 Continue\r\n\r\n")
    client.send("POST /expect HTTP/1.1", "Expect: 100-continue", "Content-Length: 4")
    assert client.read().status == 100
    client.socket.sendall(b"body")
    assert client.read().status == 200
    assert origin.only("/expect").body == b"body"


def test_a_final_answer_instead_of_100_is_relayed_before_the_body(client: Client, origin: Origin) -> None:
    origin.early["/unwanted"] = says(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n", then="close")
    answer = client.ask("POST /unwanted HTTP/1.1", "Expect: 100-continue", "Content-Length: 4")
    assert (answer.status, answer.values("connection")) == (417, ["close"])
    assert client.is_closed()


def test_interim_answers_go_on_to_who_can_read_them(client: Client, origin: Origin) -> None:
    origin.plays["/hints"] = says(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n", OK)
    interim = client.get("/hints")
    assert (interim.status, interim.values("link")) == (103, ["</a.css>"])
    assert client.read().status == 200
    assert client.ask("GET /hints HTTP/1.0").status == 200


@pytest.mark.parametrize(
    ("method", "answer", "length"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n", ["12345"]),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 12345\r\nETag: x\r\n\r\n", ["12345"]),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", []),
    ],
)
def test_after_an_answer_without_a_body_the_connections_go_on(
    method: str, answer: bytes, length: list[str], client: Client, origin: Origin
) -> None:
    origin.plays["/bare"] = says(answer)
    got = client.ask(f"{method} /bare HTTP/1.1")
    assert (got.status, got.values("content-length")) == (int(answer[9:12]), length)
    assert client.get("/after-bare").body == b"ok"
    assert origin.of("/after-bare")[-1].connection == origin.of("/bare")[-1].connection
