"""Many requests a second from one process: sent in batches over kept connections, each batch at its time.

A connection takes its next batch only when the last one is answered, so nothing piles up unseen: when all connections
wait, the load is late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

HEAD = b"HTTP/1.1 "
LAST = b"\r\nconnection: close\r\n"
REQUEST = b"GET /1k HTTP/1.1\r\nHost: load.test\r\n\r\n"
PATIENCE_S = 10.0


@dataclass
class Batch:
    """When it was due, when it was sent and when its last answer came (seconds of the loop's clock), and what the
    answers were."""

    due_s: float
    sent_s: float
    size: int
    answered_s: float = 0.0
    admitted: int = 0
    refused: int = 0

    @property
    def lost(self) -> int:
        return self.size - self.admitted - self.refused

    @property
    def middle_s(self) -> float:
        return (self.sent_s + self.answered_s) / 2


@dataclass
class Load:
    """What was sent; `idle` are the connections that have their answers."""

    port: int
    batches: list[Batch] = field(default_factory=list)
    idle: asyncio.Queue[Sender] = field(default_factory=asyncio.Queue)

    async def run(self, due: Iterable[tuple[float, int]], connections: int) -> None:
        """Send so many at each time, in seconds from now."""
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            await Sender.connect(self)
        begun = loop.time()
        for when, size in due:
            if (wait := begun + when - loop.time()) > 0:
                await asyncio.sleep(wait)
            (await self._take()).send(size, begun + when)
        for _ in range(connections):
            (await self._take()).close()

    async def _take(self) -> Sender:
        while True:
            sender = await asyncio.wait_for(self.idle.get(), PATIENCE_S)
            if not sender.transport.is_closing():
                return sender

    def total(self, name: str) -> int:
        return sum(getattr(batch, name) for batch in self.batches)


class Sender(asyncio.Protocol):
    """One connection; whoever loses it is replaced, and what was under way on it is lost."""

    def __init__(self, load: Load) -> None:
        self.load, self.tail, self.is_closing, self.is_last = load, b"", False, False
        self.batch: Batch | None = None
        self.transport: asyncio.Transport

    @classmethod
    async def connect(cls, load: Load) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_S
        while True:
            try:
                await loop.create_connection(lambda: cls(load), "127.0.0.1", load.port)
            except OSError:
                if loop.time() > deadline:
                    raise
                await asyncio.sleep(0.01)
            else:
                return

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.load.idle.put_nowait(self)

    def send(self, size: int, due_s: float) -> None:
        self.batch, self.tail = Batch(due_s, asyncio.get_running_loop().time(), size), b""
        self.load.batches.append(self.batch)
        self.transport.write(REQUEST * size)

    def data_received(self, data: bytes) -> None:
        if (batch := self.batch) is None:
            return
        data = self.tail + data
        batch.admitted += data.count(HEAD + b"200")
        batch.refused += data.count(HEAD + b"429") + data.count(HEAD + b"503")
        self.is_last = self.is_last or LAST in data.lower()
        self.tail = data[-len(HEAD) - 2 :]
        if batch.lost == 0:
            self._done()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.batch is not None:
            self.batch.answered_s = asyncio.get_running_loop().time()
        if not self.is_closing:
            self.task = asyncio.ensure_future(Sender.connect(self.load))

    def _done(self) -> None:
        assert self.batch is not None
        self.batch.answered_s = asyncio.get_running_loop().time()
        self.batch = None
        if self.is_last:
            self.transport.close()  # as the server has said; another connection follows
        else:
            self.load.idle.put_nowait(self)

    def close(self) -> None:
        self.is_closing = True
        self.transport.close()
