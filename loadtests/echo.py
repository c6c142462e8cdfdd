"""WebSockets (RFC 6455): an origin that sends every frame back, and clients that wait for each of theirs.

    python -m loadtests.echo PORT [PORT ...]        # the origin; ends with SIGTERM

Frames come back as they were sent, masked, since nobody between looks into them.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
import sys
import time
from statistics import quantiles
from typing import cast

import uvloop

from loadtests.configurations import BODY_1K_BYTES
from loadtests.work import Load, Outcome, WrkFailed

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = base64.b64encode(bytes(16))
_ASK = (
    b"GET /echo HTTP/1.1\r\nHost: load.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + _KEY + b"\r\n\r\n"
)
_AGREE = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "
    + base64.b64encode(hashlib.sha1(_KEY + _GUID).digest())
    + b"\r\n\r\n"
)
_PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BODY_1K_BYTES + b"k" * BODY_1K_BYTES
_END = b"\r\n\r\n"
_START_S = 10.0  # for all connections to be upgraded
_MOST_16_BIT = 0xFFFF


def frame(size: int) -> bytes:
    """A binary frame of `size` bytes, masked with zeros."""
    length = struct.pack("!BH", 0x80 | 126, size) if size <= _MOST_16_BIT else struct.pack("!BQ", 0x80 | 127, size)
    return b"\x82" + (bytes([0x80 | size]) if size < 126 else length) + bytes(4) + b"x" * size


class Echo(asyncio.Protocol):
    """The origin's side. Until a connection is upgraded it answers each GET with a page."""

    def __init__(self) -> None:
        self._head = b""
        self._is_upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        if self._is_upgraded:
            self._transport.write(data)
            return
        self._head += data
        while _END in self._head:
            head, _, self._head = self._head.partition(_END)
            self._is_upgraded = b"upgrade: websocket" in head.lower()
            self._transport.write(_AGREE if self._is_upgraded else _PAGE)


class Player(asyncio.Protocol):
    """A client: one frame at a time, the next when it is back."""

    def __init__(self, message: bytes, everybody: asyncio.Semaphore) -> None:
        self._message = message
        self._everybody = everybody
        self._waits_for = 0
        self._head: bytes | None = b""
        self._sent_s = 0.0
        self.took_s: list[float] = []
        self.is_playing = self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._transport.write(_ASK)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            if self._head.endswith(_END) and self._head.startswith(b"HTTP/1.1 101 "):
                self._head = None
                self._everybody.release()
            return
        self._waits_for -= len(data)
        if self._waits_for == 0:
            self.took_s.append(time.perf_counter() - self._sent_s)
            self.play()

    def play(self) -> None:
        if self.is_playing:
            self._sent_s = time.perf_counter()
            self._waits_for = len(self._message)
            self._transport.write(self._message)

    def close(self) -> None:
        self._transport.close()


async def _play(port: int, size: int, load: Load) -> Outcome:
    loop, everybody = asyncio.get_running_loop(), asyncio.Semaphore(0)
    players = []
    for _ in range(load.connections):
        _, player = await loop.create_connection(lambda: Player(frame(size), everybody), "127.0.0.1", port)
        players.append(player)
    async with asyncio.timeout(_START_S):
        for _ in players:
            await everybody.acquire()
    began = time.perf_counter()
    for player in players:
        player.is_playing = True
        player.play()
    await asyncio.sleep(load.seconds)
    took_s = [took for player in players for took in player.took_s]
    seconds = time.perf_counter() - began
    lost = sum(player.is_lost for player in players)
    for player in players:
        player.is_playing = False
        player.close()
    if len(took_s) < 2:
        raise WrkFailed("no frame came back")
    cuts = quantiles(took_s, n=100)
    return Outcome(len(took_s), seconds, int(cuts[49] * 1e6), int(cuts[98] * 1e6), 0, lost)


def play(port: int, size: int, load: Load) -> Outcome:
    """Frames of `size` bytes there and back; WrkFailed when connections aren't upgraded or nothing comes back.

    Runs in this process, which is to be on the load's CPU already.
    """
    try:
        return uvloop.run(_play(port, size, load))
    except (OSError, TimeoutError) as error:
        raise WrkFailed(f"no WebSockets: {error or 'not all were upgraded'}") from error


async def serve(ports: list[int]) -> None:
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Echo, "127.0.0.1", port, backlog=4096) for port in ports]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    uvloop.run(serve([int(port) for port in sys.argv[1:]]))
