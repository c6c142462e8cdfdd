"""Bodies of any size in bounded memory, and ends that are seen for what they are."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.e2e.peers import OK, Client, Origin, Script, Seen, recording_origin, says, says_when
from tests.proxykit import PATIENCE_S, Proxy, eventually, proxy

CONFIGURATION = """
workers: 1
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    routes: [{match: {prefix: /}, cluster: app, timeout: 20s}]
clusters:
  - {name: app, endpoints: [ORIGIN]}
"""
BODY_BYTES = 200 << 20
PIECE = bytes(1 << 20)
ALLOWED_GROWTH = 20 << 20
QUIET_S = 0.3
CHUNKED_CUT = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
LENGTH_CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with recording_origin() as recording:
        yield recording


@pytest.fixture(scope="module")
def running(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with proxy(tmp_path_factory.mktemp("streaming"), CONFIGURATION.replace("ORIGIN", origin.address)) as started:
        yield started


class Memory:
    """The resident memory of the only worker, and the most that was seen of it since the beginning."""

    def __init__(self, running: Proxy) -> None:
        self.worker = psutil.Process(running.worker_pids()[0])
        self.before = self.peak = self.worker.memory_info().rss

    @property
    def growth(self) -> int:
        self.peak = max(self.peak, self.worker.memory_info().rss)
        return self.peak - self.before


def standing_still(progress: Callable[[], int]) -> int:
    """What `progress` says when it has not moved for a while: the far side does not take any more."""
    last, since = progress(), time.monotonic()
    deadline = since + PATIENCE_S
    while time.monotonic() - since < QUIET_S:
        time.sleep(0.01)
        assert time.monotonic() < deadline, "it never stood still"
        if (now := progress()) != last:
            last, since = now, time.monotonic()
    return last


def test_a_large_response_to_a_reader_that_pauses_is_not_taken_into_memory(running: Proxy, origin: Origin) -> None:
    sent = 0

    async def large(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BODY_BYTES)
        while sent < BODY_BYTES:
            writer.write(PIECE)
            await writer.drain()
            sent += len(PIECE)

    origin.plays["/large"] = large
    memory = Memory(running)
    with Client(running.port) as client:
        client.send("GET /large HTTP/1.1")
        assert 0 < standing_still(lambda: sent) < BODY_BYTES / 2
        assert memory.growth < ALLOWED_GROWTH
        received = read_all(client, memory)
    assert received == BODY_BYTES
    assert memory.growth < ALLOWED_GROWTH


def read_all(client: Client, memory: Memory) -> int:
    """Reads over the head and the body, and looks at the memory now and then."""
    while client.file.readline() != b"\r\n":
        pass
    received = 0
    while received < BODY_BYTES and (piece := client.file.read(min(8 << 20, BODY_BYTES - received))):
        received += len(piece)
        assert memory.growth < ALLOWED_GROWTH
    return received


def test_a_large_upload_to_an_origin_that_pauses_is_not_taken_into_memory(running: Proxy, origin: Origin) -> None:
    go_on, sent = threading.Event(), 0

    async def pauses(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not go_on.is_set():
            await asyncio.sleep(0.005)
        left = BODY_BYTES
        while left:
            left -= len(await reader.readexactly(min(left, 1 << 20)))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone")
        writer.close()

    def upload(client: Client) -> None:
        nonlocal sent
        while sent < BODY_BYTES:
            client.socket.sendall(PIECE)
            sent += len(PIECE)

    origin.early["/upload"] = pauses
    memory = Memory(running)
    with Client(running.port) as client:
        client.send("POST /upload HTTP/1.1", f"Content-Length: {BODY_BYTES}")
        sender = threading.Thread(target=upload, args=(client,))
        sender.start()
        assert 0 < standing_still(lambda: sent) < BODY_BYTES / 2
        assert memory.growth < ALLOWED_GROWTH
        go_on.set()
        assert client.read().body == b"done"
        sender.join(PATIENCE_S)
    assert memory.growth < ALLOWED_GROWTH


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("answer", [CHUNKED_CUT, LENGTH_CUT], ids=["chunked", "length"])
def test_a_response_that_the_origin_cuts_never_looks_whole(
    answer: bytes, version: str, then: str, running: Proxy, origin: Origin
) -> None:
    origin.plays["/cut"] = says(answer, then=then)
    with Client(running.port) as client:
        client.send(f"GET /cut HTTP/{version}")
        try:
            got = client.read()
        except ConnectionResetError:
            return  # a reset before the head was read is as plain
    if got.status == 200:
        assert not got.is_whole
    else:
        assert got.status == 502  # the origin's reset overtook its own answer


def hangs(started: threading.Event, *, answer: bytes = b"") -> Script:
    """Says when the request is there; answers, if at all, without an end; then waits for the other side to go."""

    async def script(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        started.set()
        await reader.readexactly(1)

    return script


@pytest.mark.parametrize("answer", [b"", CHUNKED_CUT], ids=["before the answer", "within the answer"])
def test_a_client_that_vanishes_takes_its_request_with_it(answer: bytes, running: Proxy, origin: Origin) -> None:
    started, target = threading.Event(), f"/vanishes/{len(answer)}"
    origin.plays[target] = hangs(started, answer=answer)
    with Client(running.port) as client:
        client.send(f"GET {target} HTTP/1.1")
        assert started.wait(PATIENCE_S)
        if answer:
            client.file.readline()
        client.vanish()
    connection = origin.only(target).connection
    eventually(lambda: connection in origin.closed, "the origin's connection to be closed")
    running.await_idle()


def test_a_client_that_closes_in_the_middle_of_a_stream_ends_it(running: Proxy, origin: Origin) -> None:
    """A close alone could be half a close, which is no reason to stop; the reset that our next bytes meet is."""

    async def endless(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not reader.at_eof():
            writer.write(b"5\r\nhello\r\n")
            await asyncio.sleep(0.01)
        raise ConnectionError

    origin.plays["/endless"] = endless
    with Client(running.port) as client:
        client.send("GET /endless HTTP/1.1")
        client.file.readline()
    connection = origin.only("/endless").connection
    eventually(lambda: connection in origin.closed, "the origin's connection to be closed")
    running.await_idle()


def test_a_client_that_sends_no_more_still_gets_its_answer(running: Proxy, origin: Origin) -> None:
    go_on = threading.Event()
    origin.plays["/half-closed"] = says_when(go_on, OK)
    with Client(running.port) as client:
        client.send("GET /half-closed HTTP/1.1")
        client.socket.shutdown(socket.SHUT_WR)
        eventually(lambda: origin.of("/half-closed"), "the request")
        go_on.set()
        assert client.read().body == b"ok"
        assert client.is_closed()


def test_a_client_that_leaves_during_its_upload_never_completes_it(running: Proxy, origin: Origin) -> None:
    started = threading.Event()

    async def notes(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        started.set()

    origin.early["/half-upload"] = notes
    with Client(running.port) as first:
        assert first.get("/").status == 200
    with Client(running.port) as client:
        client.send("POST /half-upload HTTP/1.1", "Transfer-Encoding: chunked", body=b"5\r\nhello\r\n")
        assert started.wait(PATIENCE_S)
    eventually(lambda: origin.seen[-1].connection in origin.closed, "the origin's connection to be closed")
    assert origin.of("/half-upload") == []
    running.await_idle()


def test_a_piece_of_a_response_is_not_held_back_for_the_next(running: Proxy, origin: Origin) -> None:
    go_on = threading.Event()

    async def event_by_event(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        while not go_on.is_set():
            await asyncio.sleep(0.005)
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")

    origin.plays["/events"] = event_by_event
    with Client(running.port) as client:
        client.send("GET /events HTTP/1.1")
        while client.file.readline() != b"\r\n":
            pass
        assert (client.file.readline(), client.file.readline()) == (b"3\r\n", b"one\r\n")
        go_on.set()
        assert client.file.read(13) == b"3\r\ntwo\r\n0\r\n\r\n"
