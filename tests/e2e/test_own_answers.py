"""What the proxy answers in its own name: the status, a short JSON body, and the reason in a header field."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.proxykit import Proxy, eventually, exchange, free_port, origins, proxy, scripted_origin

CONFIGURATION = """
workers: 1
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    max_body: 1KiB
    max_head: 4KiB
    timeouts: {request_head: 500ms, request_body: 500ms}
    routes:
      - {match: {prefix: /ok}, cluster: app}
      - {match: {prefix: /limited}, cluster: app, rate_limits: [one]}
      - {match: {prefix: /nobody}, cluster: nobody}
      - {match: {prefix: /deaf}, cluster: deaf}
      - {match: {prefix: /mute}, cluster: mute, timeout: 300ms}
      - {match: {prefix: /babble}, cluster: babble}
      - {match: {prefix: /narrow}, cluster: narrow, timeout: 2s}
clusters:
  - {name: app, endpoints: [APP]}
  - {name: nobody, endpoints: ["127.0.0.1:NOBODY"]}
  - {name: deaf, connect_timeout: 300ms, endpoints: [DEAF]}
  - {name: mute, endpoints: [MUTE]}
  - {name: babble, endpoints: [BABBLE]}
  - {name: narrow, max_requests: 1, endpoints: [MUTE]}
rate_limits:
  - {name: one, rate: 1/h, burst: 1}
"""


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def talk_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"well, hello there\r\n\r\n")
    await writer.drain()


@contextmanager
def full_listener() -> Iterator[str]:
    """An address whose queue of connections is full, so that nobody else is let in."""
    with socket.socket() as listener, ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        host, port = listener.getsockname()
        for _ in range(4):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex((host, port))
        yield f"{host}:{port}"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with (
        origins(0) as (app,),
        full_listener() as deaf,
        scripted_origin(say_nothing) as mute,
        scripted_origin(talk_nonsense) as babble,
    ):
        text = CONFIGURATION.replace("NOBODY", str(free_port())).replace("APP", app).replace("DEAF", deaf)
        text = text.replace("MUTE", mute).replace("BABBLE", babble)
        with proxy(tmp_path_factory.mktemp("answers"), text) as proxied:
            yield proxied


def get(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: a.test", "Connection: close", *lines, "", ""]).encode()


CASES = {
    "no route": (get("/elsewhere"), 404, "no_route"),
    "a broken field": (get("/ok", "Bro ken: 1"), 400, "bad_field"),
    "no Host": (b"GET /ok HTTP/1.1\r\n\r\n", 400, "bad_host"),
    "two framings": (get("/ok", "Content-Length: 1", "Transfer-Encoding: chunked"), 400, "ambiguous_length"),
    "a body above max_body": (get("/ok", "Content-Length: 2000"), 413, "body_too_large"),
    "a chunked body above max_body": (
        get("/ok", "Transfer-Encoding: chunked") + b"800\r\n" + b"a" * 2048, 413, "body_too_large",
    ),
    "a target above the bound": (get("/ok" + "a" * 5000), 414, "target_too_long"),
    "a head above max_head": (get("/ok", "X-Large: " + "a" * 5000), 431, "head_too_large"),
    "too many fields": (get("/ok", *["X: 1"] * 200), 431, "head_too_large"),
    "another version": (b"GET /ok HTTP/3.0\r\nHost: a\r\n\r\n", 505, "bad_version"),
    "an unknown coding": (get("/ok", "Transfer-Encoding: gzip, chunked"), 501, "unsupported_coding"),
    "half a head": (b"GET /ok HTTP/1.1\r\nHo", 408, "head_timeout"),
    "half a body": (get("/ok", "Content-Length: 10") + b"half", 408, "body_timeout"),
    "nobody listens": (get("/nobody"), 502, "connect_failed"),
    "nobody accepts": (get("/deaf"), 504, "connect_timeout"),
    "nobody answers": (get("/mute"), 504, "response_timeout"),
    "nonsense is answered": (get("/babble"), 502, "bad_response"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_status_the_reason_and_the_body_agree(running: Proxy, case: str) -> None:
    request, status, reason = CASES[case]
    answer = exchange(running.port, request)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert f"\r\nX-Shardproxy-Reason: {reason}\r\n".encode() in head
    assert f"\r\nContent-Length: {len(body)}\r\n".encode() in head
    said = json.loads(body)
    assert (said["status"], said["reason"]) == (status, reason)
    assert said["message"]


def test_a_limit_that_is_reached_says_when_to_come_back(running: Proxy) -> None:
    assert exchange(running.port, get("/limited")).startswith(b"HTTP/1.1 200 ")
    answer = exchange(running.port, get("/limited"))
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"\r\nRetry-After: 3600\r\n" in answer


def test_a_cluster_with_all_its_requests_under_way_sheds_with_503(running: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", running.port), 10) as first:
        first.sendall(get("/narrow"))
        eventually(lambda: sum(e["active"] for e in running.endpoints("narrow").values()) == 1, "the first to wait")
        answer = exchange(running.port, get("/narrow"))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in answer and b"overflow" in answer


def test_after_a_refusal_that_is_not_the_clients_fault_the_connection_goes_on(running: Proxy) -> None:
    kept = get("/elsewhere").replace(b"Connection: close\r\n", b"")
    answers = exchange(running.port, kept + kept + get("/ok"))
    assert answers.count(b"HTTP/1.1 404 ") == 2
    assert answers.count(b"HTTP/1.1 200 ") == 1


def test_head_gets_the_head_only(running: Proxy) -> None:
    answer = exchange(running.port, get("/elsewhere").replace(b"GET", b"HEAD"))
    assert answer.startswith(b"HTTP/1.1 404 ") and answer.endswith(b"\r\n\r\n")
