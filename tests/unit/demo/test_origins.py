"""The demo's origins over real connections."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
import pytest
import uvloop

from shardproxy.demo import origins
from shardproxy.demo.origins import Origin

T = TypeVar("T")

PATIENCE_S = 5
QUICK = Origin("quick", 0.001)


def converse(sent: bytes, answers: int, origin: Origin = QUICK, pieces: int = 1) -> list[tuple[bytes, Any]]:
    """Status line and content of each answer to `sent`, which goes out in `pieces`."""
    talk = _converse(sent, answers, origin, pieces)
    return _run(_patiently(talk))


def _run(work: Coroutine[Any, Any, T]) -> T:
    """On uvloop, as in the demo: its transports are not asyncio's."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


async def _patiently(talk: Coroutine[Any, Any, list[tuple[bytes, Any]]]) -> list[tuple[bytes, Any]]:
    return await asyncio.wait_for(talk, PATIENCE_S)


async def _converse(sent: bytes, answers: int, origin: Origin, pieces: int) -> list[tuple[bytes, Any]]:
    server = await origins.start(origin)
    host, port = origins.address(server).split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    size = -(-len(sent) // pieces)
    for start in range(0, len(sent), size):
        writer.write(sent[start : start + size])
        await writer.drain()
        await asyncio.sleep(0)
    got = [await _answer(reader) for _ in range(answers)]
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    return got


async def _answer(reader: asyncio.StreamReader) -> tuple[bytes, Any]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
    body = await reader.readexactly(length)
    return head.partition(b"\r\n")[0], msgspec.json.decode(body) if body else None


def test_it_says_who_has_answered_what() -> None:
    [(status, content)] = converse(b"GET /hello?x=1 HTTP/1.1\r\nHost: a\r\n\r\n", 1)
    assert status == b"HTTP/1.1 200 OK"
    assert content == {"origin": "quick", "method": "GET", "path": "/hello?x=1", "body_bytes": 0}


@pytest.mark.parametrize("pieces", [1, 3, 50])
def test_bodies_of_both_framings_are_taken_in_and_the_connection_is_kept(pieces: int) -> None:
    requests = (
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        b"POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        b"GET /c HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    contents = [content for _, content in converse(requests, 3, pieces=pieces)]
    assert [(each["path"], each["body_bytes"]) for each in contents] == [("/a", 5), ("/b", 3), ("/c", 0)]


def test_a_client_that_asks_first_is_told_to_go_on() -> None:
    request = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"
    statuses = [status for status, _ in converse(request, 2)]
    assert statuses == [b"HTTP/1.1 100 Continue", b"HTTP/1.1 200 OK"]


@pytest.mark.parametrize("request_", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"x" * 70_000])
def test_nonsense_is_refused(request_: bytes) -> None:
    [(status, _)] = converse(request_, 1)
    assert status == b"HTTP/1.1 400 Bad Request"


def test_it_takes_the_time_it_is_meant_to_take() -> None:
    async def timed() -> float:
        begin = asyncio.get_running_loop().time()
        await _converse(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1, Origin("slow", 0.1), 1)
        return asyncio.get_running_loop().time() - begin

    assert _run(timed()) >= 0.1 - 0.002  # a loop may be early by its clock's resolution
