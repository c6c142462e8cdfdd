"""Closed-loop clients on kept connections, and what became of every one of their requests."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """`answers` by status and body, `broken` requests whose connection ended under them, `refused` connections."""

    answers: Counter[tuple[int, bytes]] = field(default_factory=Counter)
    broken: int = 0
    refused: int = 0
    stopped: bool = False

    @property
    def total(self) -> int:
        return self.answers.total()

    def with_status(self, status: int) -> int:
        return sum(count for (code, _), count in self.answers.items() if code == status)


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    return int(head[9:12]), await reader.readexactly(length)


async def _connection(port: int, request: bytes, tally: Tally, pause_s: float) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while not tally.stopped:
            writer.write(request)
            tally.answers[await _read_answer(reader)] += 1
            if pause_s:
                await asyncio.sleep(pause_s)
    except (ConnectionError, asyncio.IncompleteReadError):
        tally.broken += 1
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def client(port: int, path: str, tally: Tally, *, pause_s: float = 0) -> None:
    """One after the other until `tally.stopped`; connects again when its connection ends."""
    request = f"GET {path} HTTP/1.1\r\nHost: load.test\r\n\r\n".encode()
    while not tally.stopped:
        try:
            await _connection(port, request, tally, pause_s)
        except ConnectionError:
            tally.refused += 1


async def press(port: int, path: str = "/", *, clients: int, seconds: float, pause_s: float = 0) -> Tally:
    """That many clients for that long; every request is waited for."""
    tally = Tally()
    tasks = [asyncio.create_task(client(port, path, tally, pause_s=pause_s)) for _ in range(clients)]
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await asyncio.sleep(min(0.05, until - time.monotonic()) if until > time.monotonic() else 0)
    tally.stopped = True
    await asyncio.wait_for(asyncio.gather(*tasks), 30)
    return tally
