"""One check of one endpoint: connect, or ask, and say how it went."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Protocol

import aiohttp
from yarl import URL

from shardproxy.config.forms import status_range
from shardproxy.config.schema import HealthCheck
from shardproxy.config.units import Address
from shardproxy.controller.failures import is_shortage
from shardproxy.controller.reasons import Reason, Why

MOST_BODY_BYTES = 64 << 10
LATE_S = 0.5  # so much later than its timeout a check ends only when the process has stood still
_HEADERS = {"User-Agent": "shardproxy-health-check", "Connection": "close"}

GOOD = Reason(Why.GOOD)


class Probe(Protocol):
    """Gives up after the check's timeout. Raises `OSError` where it is this machine that is short of something."""

    async def ask(self) -> Reason | None:
        """`GOOD`, or what is wrong; None when the check says nothing of the endpoint, since the fault is our own."""


def probe_of(check: HealthCheck, address: Address) -> Probe:
    """How to find out what `check` wants to know of the endpoint at `address`."""
    if check.port is not None:
        address = Address(address.host, check.port)
    probe = TcpProbe(check, address) if check.type == "tcp" else HttpProbe(check, address)
    return FairProbe(probe, check.timeout / 1e9)


class FairProbe:
    """Does not hold against the endpoint the time in which this process stood still."""

    def __init__(self, probe: TcpProbe | HttpProbe, timeout_s: float) -> None:
        self._probe = probe
        self._most_s = timeout_s + LATE_S

    async def ask(self) -> Reason | None:
        begun_s = time.monotonic()
        reason = await self._probe.ask()
        is_late = reason.why is Why.TIMEOUT and time.monotonic() - begun_s > self._most_s
        return None if is_late else reason


class TcpProbe:
    """Connects and closes."""

    def __init__(self, check: HealthCheck, address: Address) -> None:
        self._address = address
        self._timeout_s = check.timeout / 1e9

    async def ask(self) -> Reason:
        try:
            async with asyncio.timeout(self._timeout_s):
                _, writer = await self._connect()
        except TimeoutError:
            return Reason(Why.TIMEOUT)
        except OSError as error:
            return _unless_ours(error, Why.REFUSED)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return GOOD

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        address = self._address
        if address.is_unix:
            return await asyncio.open_unix_connection(address.path)
        return await asyncio.open_connection(address.host, address.port)


class HttpProbe:
    """GET on a connection of its own, so that an endpoint that takes no new ones is found out."""

    def __init__(self, check: HealthCheck, address: Address) -> None:
        self._path = address.path
        host = f"[{address.host}]" if address.is_ipv6 else address.host or "localhost"
        self._url = URL.build(scheme="http", host=host, port=address.port or None, path=check.path, encoded=True)
        self._headers = {**_HEADERS, "Host": check.host} if check.host else _HEADERS
        self._timeout = aiohttp.ClientTimeout(total=check.timeout / 1e9)
        self._expected = [status_range(text) for text in check.expected]
        self._body = None if check.body is None else check.body.encode()

    async def ask(self) -> Reason:
        try:
            async with self._session() as session:
                return await self._answer_of(session)
        except TimeoutError:
            return Reason(Why.TIMEOUT)
        except (aiohttp.ClientConnectorError, ConnectionRefusedError) as error:
            return _unless_ours(error, Why.REFUSED)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _unless_ours(error, Why.BROKEN)

    def _session(self) -> aiohttp.ClientSession:
        connector: aiohttp.BaseConnector
        if self._path:
            connector = aiohttp.UnixConnector(self._path, force_close=True)
        else:
            connector = aiohttp.TCPConnector(force_close=True)
        return aiohttp.ClientSession(
            connector=connector, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )

    async def _answer_of(self, session: aiohttp.ClientSession) -> Reason:
        async with session.get(self._url, headers=self._headers, allow_redirects=False) as answer:
            if not any(answer.status in expected for expected in self._expected):
                return Reason(Why.STATUS, answer.status)
            if self._body is not None and self._body not in await _beginning(answer.content):
                return Reason(Why.BODY)
            return GOOD


def _unless_ours(error: Exception, why: Why) -> Reason:
    """What `error` says of the endpoint, if anything; else it is raised again."""
    if is_shortage(error):
        raise error
    return Reason(why)


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    """All of a body, but no more than `MOST_BODY_BYTES`."""
    found = b""
    while len(found) < MOST_BODY_BYTES and (piece := await content.read(MOST_BODY_BYTES - len(found))):
        found += piece
    return found
