"""What operators wish for by the admin interface, handed to the supervisor, and its answers handed back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count

from shardproxy.control.messages import Answer, Ask, Message, Wish

# How many may wait for an answer at a time.
MAX_OPEN = 16
# Beyond what the supervisor allows itself for a hot restart (two times `restart_timeout`) or a reload.
PATIENCE_S = 120.0


class TooMany(Exception):
    """As many wishes as allowed are open already."""


class Wishes:
    """Numbers each wish, and keeps it until its answer comes or the time is up."""

    def __init__(self, tell: Callable[[Message], None]) -> None:
        self._tell = tell
        self._ids = count(1)
        self._open: dict[int, asyncio.Future[Answer]] = {}

    async def ask(self, what: Wish, workers: int | None = None) -> Answer:
        """Raises `TooMany`, or `TimeoutError` after two minutes."""
        if len(self._open) >= MAX_OPEN:
            raise TooMany(f"{MAX_OPEN} operations are waiting for their answers already")
        number = next(self._ids)
        self._open[number] = asyncio.get_running_loop().create_future()
        try:
            self._tell(Ask(number, what, workers))
            async with asyncio.timeout(PATIENCE_S):
                return await self._open[number]
        finally:
            del self._open[number]

    def hear(self, answer: Answer) -> None:
        future = self._open.get(answer.id)
        if future is not None and not future.done():
            future.set_result(answer)
