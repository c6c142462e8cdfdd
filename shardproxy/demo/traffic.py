"""Light traffic for the demo: a few visitors with kept connections, each with at most one request at a time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import NamedTuple

import aiohttp

from shardproxy.demo.configuration import LIMITED_PATH

VISITORS = 8
PAUSE_S = (0.01, 0.04)
PAUSE_AFTER_AN_ERROR_S = 0.2
PATIENCE_S = 5.0
FAREWELL_S = 2.0


class Errand(NamedTuple):
    """One kind of request, and how often it is made compared with the others. `body` makes a fresh one each time."""

    weight: int
    method: str
    path: str
    body: Callable[[], bytes | AsyncIterator[bytes]] | None = None


async def _in_chunks() -> AsyncIterator[bytes]:
    for _ in range(3):
        yield b"x" * 700


ERRANDS = (
    Errand(80, "GET", "/"),
    Errand(10, "POST", "/orders", lambda: b"x" * 2000),
    Errand(5, "POST", "/upload", _in_chunks),
    Errand(5, "GET", LIMITED_PATH),
)


class Traffic:
    """What the visitors have seen so far. `refused`: by the rate limit, as it should be; that is no error."""

    def __init__(self, url: str) -> None:
        self.requests = 0
        self.errors = 0
        self.refused = 0
        self._url = url
        self._is_over = False

    def __repr__(self) -> str:
        return f"<Traffic requests={self.requests} errors={self.errors} refused={self.refused}>"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Visitors come and go until the end of the block; requests under way are finished."""
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        async with aiohttp.ClientSession(self._url, timeout=timeout) as session:
            visitors = [asyncio.create_task(self._visit(session)) for _ in range(VISITORS)]
            try:
                yield
            finally:
                self._is_over = True
                _, late = await asyncio.wait(visitors, timeout=FAREWELL_S)
                for each in late:
                    each.cancel()
                await asyncio.gather(*late, return_exceptions=True)

    async def _visit(self, session: aiohttp.ClientSession) -> None:
        weights = [errand.weight for errand in ERRANDS]
        while not self._is_over:
            is_fine = await self._run(session, random.choices(ERRANDS, weights)[0])
            await asyncio.sleep(random.uniform(*PAUSE_S) if is_fine else PAUSE_AFTER_AN_ERROR_S)

    async def _run(self, session: aiohttp.ClientSession, errand: Errand) -> bool:
        """Whether it went well."""
        self.requests += 1
        body = errand.body() if errand.body else None
        try:
            async with session.request(errand.method, errand.path, data=body) as response:
                await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            self.errors += 1
            return False
        if response.status == HTTPStatus.TOO_MANY_REQUESTS and errand.path == LIMITED_PATH:
            self.refused += 1
        elif response.status != HTTPStatus.OK:
            self.errors += 1
        return True
