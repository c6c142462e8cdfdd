"""Closed-loop clients on kept connections, and what became of every one of their requests."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """`answers` by status and body, `broken` requests whose connection ended under them, `refused` connections.

    `reopened` counts the kept connections that the proxy ended, as announced (`Connection: close`). `slowest_s` is how
    long the slowest answer took.
    """

    answers: Counter[tuple[int, bytes]] = field(default_factory=Counter)
    broken: int = 0
    reopened: int = 0
    refused: int = 0
    slowest_s: float = 0
    stopped: bool = False

    @property
    def total(self) -> int:
        return self.answers.total()

    def with_status(self, status: int) -> int:
        return sum(count for (code, _), count in self.answers.items() if code == status)


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    """Status, body, and whether the connection can be used again."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    return int(head[9:12]), await reader.readexactly(length), b"\r\nconnection: close\r\n" not in head


async def _connection(port: int, request: bytes, tally: Tally, pause_s: float) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    is_kept = True
    try:
        while is_kept and not tally.stopped:
            sent = time.monotonic()
            writer.write(request)
            status, body, is_kept = await _read_answer(reader)
            tally.answers[status, body] += 1
            tally.slowest_s = max(tally.slowest_s, time.monotonic() - sent)
            tally.reopened += not is_kept and b"Connection: close" not in request
            if pause_s:
                await asyncio.sleep(pause_s)
    except (ConnectionError, asyncio.IncompleteReadError):
        tally.broken += 1
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def client(port: int, path: str, tally: Tally, *, pause_s: float = 0, keeps: bool = True) -> None:
    """One after the other until `tally.stopped`; connects again when its connection ends, or each time."""
    option = "" if keeps else "Connection: close\r\n"
    request = f"GET {path} HTTP/1.1\r\nHost: load.test\r\n{option}\r\n".encode()
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


class Background:
    """Clients in a thread of their own, half on kept connections and half on a new one for each request.

    Between `__enter__` and `__exit__`; afterwards `tally` is complete.
    """

    def __init__(self, port: int, *, clients: int = 16, pause_s: float = 0.002) -> None:
        self.tally = Tally()
        self._port, self._clients, self._pause_s = port, clients, pause_s
        self._thread = threading.Thread(target=lambda: asyncio.run(self._press()))

    async def _press(self) -> None:
        each = [
            client(self._port, "/", self.tally, pause_s=self._pause_s, keeps=number % 2 == 0)
            for number in range(self._clients)
        ]
        await asyncio.gather(*each)

    def __enter__(self) -> Background:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.tally.stopped = True
        self._thread.join(30)
        assert not self._thread.is_alive(), "a client waits for an answer that does not come"
