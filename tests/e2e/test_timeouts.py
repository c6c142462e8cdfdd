"""Everybody is waited for, nobody for ever."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.peers import OK, Client, Origin, Seen, recording_origin, says
from tests.proxykit import Proxy, eventually, proxy

CONFIGURATION = """
workers: 1
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    timeouts: {request_head: 400ms, request_body: 400ms, idle: 400ms, stream_idle: 400ms}
    routes:
      - {match: {prefix: /full}, cluster: full}
      - {match: {prefix: /stops}, cluster: app, timeout: 10s}
      - {match: {prefix: /}, cluster: app, timeout: 400ms}
clusters:
  - {name: app, endpoints: [ORIGIN]}
  - {name: full, connect_timeout: 400ms, endpoints: ["127.0.0.1:FULL"]}
"""
TIMEOUT_S, MUCH_LATER_S = 0.4, 3.0


async def never(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    raise ConnectionError


async def half(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf!")
    await never(seen, reader, writer)


@contextmanager
def full_backlog() -> Iterator[int]:
    """The port of a listener whose queue is full: nobody else gets an answer to a connection attempt."""
    with socket.socket() as listener, contextlib.ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            filler = waiting.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with recording_origin() as recording:
        recording.plays.update({"/never": never, "/half": half})
        yield recording


@pytest.fixture(scope="module")
def running(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with full_backlog() as port:
        text = CONFIGURATION.replace("ORIGIN", origin.address).replace("FULL", str(port))
        with proxy(tmp_path_factory.mktemp("timeouts"), text) as started:
            yield started


@pytest.fixture
def client(running: Proxy) -> Iterator[Client]:
    with Client(running.port) as connected:
        yield connected


@contextmanager
def in_time() -> Iterator[None]:
    """What happens in here takes the timeout, and not much more."""
    began = time.monotonic()
    yield
    assert TIMEOUT_S * 0.9 <= time.monotonic() - began < MUCH_LATER_S


@pytest.mark.parametrize(("path", "reason"), [("/never", "response_timeout"), ("/full", "connect_timeout")])
def test_an_endpoint_that_does_not_answer_is_504_and_the_client_may_go_on(
    path: str, reason: str, client: Client
) -> None:
    with in_time():
        answer = client.get(path)
    assert (answer.status, answer.values("x-shardproxy-reason")) == (504, [reason])
    assert client.get("/").status == 200


def test_a_connection_whose_answer_came_too_late_is_never_used_again(client: Client, origin: Origin) -> None:
    assert client.get("/never").status == 504
    late = origin.of("/never")[-1].connection
    eventually(lambda: late in origin.closed, "the proxy to close the connection")


def test_a_connection_without_a_request_is_closed_silently(client: Client) -> None:
    with in_time():
        assert client.is_closed()


def test_half_a_head_is_answered_with_408(client: Client) -> None:
    client.socket.sendall(b"GET / HTTP/1.1\r\nHost: ")
    with in_time():
        answer = client.read()
    assert (answer.status, answer.values("connection")) == (408, ["close"])
    assert answer.values("x-shardproxy-reason") == ["head_timeout"]
    assert client.is_closed()


def test_a_head_that_trickles_in_is_not_given_more_time(client: Client) -> None:
    client.socket.sendall(b"GET / HTTP/1.1\r\n")
    client.socket.settimeout(0.1)
    received, began = b"", time.monotonic()
    while not received and time.monotonic() - began < MUCH_LATER_S:
        client.socket.sendall(b"X-More: 1\r\n")
        with contextlib.suppress(TimeoutError):
            received = client.socket.recv(65536)
    assert received.startswith(b"HTTP/1.1 408 ")


def test_a_body_that_stops_is_answered_with_408_and_never_completed(client: Client, origin: Origin) -> None:
    client.send("POST /stops HTTP/1.1", "Content-Length: 10", body=b"half!")
    with in_time():
        answer = client.read()
    assert (answer.status, answer.values("x-shardproxy-reason")) == (408, ["body_timeout"])
    assert client.is_closed()
    assert origin.of("/stops") == []


def test_a_kept_connection_is_closed_silently_when_it_idles(client: Client) -> None:
    assert client.get("/").status == 200
    with in_time():
        assert client.is_closed()


def test_a_response_that_stops_is_cut_visibly(client: Client) -> None:
    client.send("GET /half HTTP/1.1")
    with in_time():
        answer = client.read()
    assert (answer.status, answer.is_whole) == (200, False)


def test_a_slow_but_steady_response_is_not_cut(client: Client, origin: Origin) -> None:
    async def steady(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        for _ in range(6):
            await asyncio.sleep(TIMEOUT_S / 2)
            writer.write(b".")

    origin.plays["/steady"] = steady
    answer = client.get("/steady")
    assert (answer.body, answer.is_whole) == (b"......", True)


def test_an_origin_that_has_timed_out_can_be_asked_again(client: Client, origin: Origin) -> None:
    origin.plays["/again"] = never
    assert client.get("/again").status == 504
    origin.plays["/again"] = says(OK)
    assert client.get("/again").status == 200


def test_nothing_stays_counted_as_active(running: Proxy) -> None:
    running.await_idle()
    eventually(lambda: not any(one["active"] for one in running.endpoints("full").values()), "no active connect")
