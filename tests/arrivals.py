"""An open load: requests that arrive when they arrive, whatever has become of those before them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.capacity import Span

PATIENCE_S = 60


@dataclass
class Arrivals:
    """When each request was sent (CLOCK_MONOTONIC ns, by its number), and what became of them: `statuses`, and `lost`
    ones whose connection broke."""

    port: int
    sent_ns: dict[int, int] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def send(self, number: int, fields: str = "") -> int:
        """One request on a kept connection, or on a new one; its status, or 0 if it was lost."""
        writer = None
        try:
            reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection("127.0.0.1", self.port)
            self.sent_ns[number] = time.monotonic_ns()
            writer.write(f"GET /{number} HTTP/1.1\r\nHost: load.test\r\n{fields}\r\n".encode())
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
            await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
        except (ConnectionError, asyncio.IncompleteReadError):
            self.lost += 1
            if writer is not None:
                writer.close()
            return 0
        status = int(head[9:12])
        self.statuses[status] += 1
        if b"connection: close" in head.lower():
            writer.close()
        else:
            self.idle.append((reader, writer))
        return status

    async def poisson(self, requests: int, rate: float, seed: int = 4) -> None:
        """That many, at this rate a second on average, each independent of the others."""
        chance = random.Random(seed)
        tasks, due = set(), time.monotonic()
        for number in range(requests):
            due += chance.expovariate(rate)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.add(asyncio.create_task(self.send(number)))
        await asyncio.gather(*tasks)
        await self.close()

    async def at_once(self, requests: int, clients: int) -> None:
        """As many at a time as there are clients, until all are done."""
        numbers = iter(range(requests))

        async def one() -> None:
            for number in numbers:
                await self.send(number)

        await asyncio.gather(*(one() for _ in range(clients)))
        await self.close()

    async def close(self) -> None:
        idle, self.idle = self.idle, []
        for _, writer in idle:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def waits_ms(spans: Sequence[Span], sent_ns: dict[int, int]) -> list[float]:
    """From sending to the begin of the work."""
    return [(span.start_ns - sent_ns[span.number]) / 1e6 for span in spans]


def ideal_waits_ms(spans: Sequence[Span], sent_ns: dict[int, int]) -> list[float]:
    """The same requests with the same work, had they stood in one line before one server that is never late."""
    waits, free_ns = [], 0
    for span in sorted(spans, key=lambda span: sent_ns[span.number]):
        start_ns = max(sent_ns[span.number], free_ns)
        waits.append((start_ns - sent_ns[span.number]) / 1e6)
        free_ns = start_ns + span.end_ns - span.start_ns
    return waits


def quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
