"""What operators wish for by the admin interface, handed to the supervisor, and its answers handed back.

    ask ──> Ask ──> the supervisor ──> Answer ──> hear          ask fails with NotNow, or after two minutes

A controller that leaves takes no wish any more, but stays for the answers to those that are open: over a hot restart
the new supervisor answers on the old controller's channel.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import count

from shardproxy.control.channel import ChannelError
from shardproxy.control.messages import Answer, Ask, Message, Wish

# How many may wait for an answer at a time.
MAX_OPEN = 16
# Beyond what the supervisor allows itself for a hot restart (two times `restart_timeout`) or a reload.
PATIENCE_S = 120.0


class NotNow(Exception):
    """The wish is not handed on, or nobody is left who could answer it; `str()` is a plain sentence."""


class Wishes:
    """Numbers each wish, and keeps it until its answer comes or the time is up.  `send` raises `ChannelError`."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._ids = count(1)
        self._open: dict[int, asyncio.Future[Answer]] = {}
        self._closed: str | None = None
        self._end: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Wishes open={len(self._open)}{' closed' if self._closed else ''}>"

    async def ask(self, what: Wish, workers: int | None = None, found: bytes = b"", version: int = 0) -> Answer:
        """As in `Ask`.  Raises `NotNow`, also when the supervisor says so, or `TimeoutError` after two minutes."""
        if self._closed is not None:
            raise NotNow(self._closed)
        if len(self._open) >= MAX_OPEN:
            raise NotNow(f"{MAX_OPEN} operations are waiting for their answers already")
        number = next(self._ids)
        self._open[number] = self._loop.create_future()
        try:
            self._hand_on(Ask(number, what, workers, found, version))
            async with asyncio.timeout(PATIENCE_S):
                answer = await self._open[number]
        finally:
            del self._open[number]
        if answer.is_again:
            raise NotNow(answer.text)
        return answer

    def hear(self, answer: Answer) -> None:
        """The supervisor has answered; an answer to nobody is dropped."""
        future = self._open.get(answer.id)
        if future is not None and not future.done():
            future.set_result(answer)

    def close(self, deadline_ns: int, why: str) -> None:
        """Take no more; who still waits at `deadline_ns` (CLOCK_MONOTONIC) is told `why`.

        A second call replaces the deadline of the first.
        """
        self._closed = why
        if self._end is not None:
            self._end.cancel()
        delay_s = (deadline_ns - time.monotonic_ns()) / 1e9
        self._end = self._loop.call_later(max(0.0, delay_s), self._refuse, why)

    async def settled(self) -> None:
        """Returns when nobody waits for an answer any more; after `close`, soon after its deadline at the latest."""
        while self._open:
            await asyncio.wait(list(self._open.values()))

    def _hand_on(self, wish: Ask) -> None:
        try:
            self._send(wish)
        except ChannelError as error:
            raise NotNow(f"the supervisor cannot be told: {error}") from None

    def _refuse(self, why: str) -> None:
        for future in self._open.values():
            if not future.done():
                future.set_exception(NotNow(why))
