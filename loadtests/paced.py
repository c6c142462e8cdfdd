"""Requests at times that were drawn before, whatever the answers take: an open loop, so that nothing is omitted."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Answer:
    """When it was due (seconds from the start), how long it took from then on, and its status; 0 = none came."""

    due_s: float
    took_s: float
    status: int


@dataclass
class Answers:
    all: list[Answer] = field(default_factory=list)

    def rate(self, status: int, since_s: float, until_s: float) -> float:
        """Answers with that status per second, of the requests that were due in between."""
        return sum(a.status == status and since_s <= a.due_s < until_s for a in self.all) / (until_s - since_s)

    def quantile(self, share: float, since_s: float, until_s: float) -> float:
        """Of the times that answers with 200 took, in seconds; 0 if there were none."""
        took = sorted(a.took_s for a in self.all if a.status == 200 and since_s <= a.due_s < until_s)
        return took[min(int(len(took) * share), len(took) - 1)] if took else 0.0


async def _client(port: int, request: bytes, rate: float, seconds: float, dice: random.Random, into: Answers) -> None:
    loop = asyncio.get_running_loop()
    begun, due, reader, writer = loop.time(), 0.0, None, None
    while (due := due + dice.expovariate(rate)) < seconds:
        await asyncio.sleep(max(0.0, begun + due - loop.time()))
        status = 0
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if writer is None or reader is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
            status = int(head[9:12])
        into.all.append(Answer(due, loop.time() - begun - due, status))
        if writer is not None and (status == 0 or b"connection: close" in head):
            writer.close()
            reader, writer = None, None
    if writer is not None:
        writer.close()


async def offer(
    port: int, rate: float, seconds: float, *, path: str = "/", fields: str = "", clients: int = 200, seed: int = 1
) -> Answers:
    """`rate` requests a second, of so many clients, each with a connection of its own that takes one at a time.

    A second after the last was due, those that wait are given up.
    """
    answers, request = Answers(), f"GET {path} HTTP/1.1\r\nHost: load.test\r\n{fields}\r\n".encode()
    tasks = []
    for number in range(clients):
        dice = random.Random(seed * 10_000 + number)
        tasks.append(asyncio.create_task(_client(port, request, rate / clients, seconds, dice, answers)))
    _, left = await asyncio.wait(tasks, timeout=seconds + 1)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    return answers
