"""Leases from a Redis or Valkey (5 or later), which is where a limit over several machines is true.

There is one bucket for each limit, a GCRA as in `shm/buckets.pxd`: the time at which it will be full, in microseconds
of the store's own clock, so that the machines' clocks do not matter. The interval that this time is measured in stands
beside it, so that a machine that comes with another rate finds as many tokens as there were. One script, which nothing
else can come between, takes back what a machine still has and gives it what it wants: one trip, whatever is changed. A
trip that is lost on the way back costs tokens and never makes any.

A machine that has nothing to do gets a few tokens, too, so that its first requests need not wait for a trip: all
machines together at most a sixteenth of a burst, and none of them more than an eighth of what is there.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from shardproxy.config.stores import Store

TRIP_S = 0.3  # an answer that comes later is none
KEY = "shardproxy:{%s}"  # braces: Redis Cluster keeps all keys of a limit together

SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local held, wanted = tonumber(ARGV[2]), tonumber(ARGV[3])
local interval, burst = tonumber(ARGV[4]), tonumber(ARGV[5])
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - 2000000)
redis.call('PEXPIRE', KEYS[2], 2000)
local machines = redis.call('ZCARD', KEYS[2])

local empty = now + burst * interval
local former = tonumber(redis.call('GET', KEYS[3]) or interval)
local full = now + math.max(0, tonumber(redis.call('GET', KEYS[1]) or now) - now) * interval / former
full = math.min(full, empty)
full = math.max(now, math.min(full - held * interval, empty))
local there = math.max(0, math.floor(burst - (full - now) / interval + 0.000001))
local spare = math.min(math.max(1, math.floor(burst / 16 / machines)), math.ceil(there / 8))
local given = math.min(there, math.max(wanted, spare))
full = full + given * interval
if full > now then
    local life = string.format('%.0f', (full - now) / 1000 + 1)
    redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', life)
    redis.call('SET', KEYS[3], ARGV[4], 'PX', life)
else
    redis.call('DEL', KEYS[1], KEYS[3])
end
return {given, there - given, machines}
"""


class StoreLost(Exception):
    """The store does not answer, or not as it should; says why in one sentence."""


class Grant(NamedTuple):
    """Tokens to have at hand now, in place of those that were; those left for all; and how many machines there are."""

    tokens: int
    left: int
    machines: int


class RedisStore:
    """One connection to a store, from `open` on. Every call ends within `TRIP_S`, or raises `StoreLost`."""

    def __init__(self, store: Store, machine: str, password_file: str | None = None) -> None:
        self._store = store
        self._machine = machine
        self._password_file = password_file
        self._client: Redis | None = None
        self._script = ""

    def _connection(self) -> Redis:
        return Redis(
            host=self._store.host,
            port=self._store.port,
            db=self._store.database,
            password=None if self._password_file is None else first_line(self._password_file),
            socket_timeout=TRIP_S,
            socket_connect_timeout=TRIP_S,
            retry=Retry(NoBackoff(), 0),  # who leases twice because an answer is late loses tokens
            max_connections=1,
            protocol=2,  # 3 is not known to Redis 5
        )

    async def open(self) -> None:
        """Until the store has answered.

        Without it, a lease that lies in a stopped store would be granted later, to nobody.
        """
        await self.close()
        try:
            self._client = self._connection()
            async with asyncio.timeout(TRIP_S):
                self._script = str(await self._client.script_load(SCRIPT))
        except (RedisError, OSError) as error:
            await self.close()
            raise StoreLost(sentence(error)) from None

    async def lease(self, limit: str, held: int, wanted: int, rate: float, burst: int) -> Grant:
        """Give `held` tokens of a limit back (below 0: pay them) and get up to `wanted`, or a few if there are some."""
        assert self._client is not None, "open() comes first"
        key = KEY % limit
        arguments = (self._machine, held, wanted, repr(1e6 / rate), burst)
        try:
            async with asyncio.timeout(TRIP_S):
                keys = (key, f"{key}:machines", f"{key}:interval")
                answer = await self._client.evalsha(self._script, len(keys), *keys, *map(str, arguments))
            tokens, left, machines = map(int, answer)
        except (RedisError, OSError, ValueError, TypeError) as error:
            await self.close()
            raise StoreLost("it was restarted" if isinstance(error, NoScriptError) else sentence(error)) from None
        return Grant(tokens, left, machines)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(RedisError, OSError):
                await client.aclose()


def first_line(file: str) -> str:
    """Of a file that is small.  Raises `StoreLost`."""
    try:
        return Path(file).read_text(encoding="utf-8").partition("\n")[0]  # whatever ends a line reads as \n
    except (OSError, UnicodeDecodeError) as error:
        raise StoreLost(f"its password cannot be read: {error}") from None


def sentence(error: Exception) -> str:
    """What went wrong, for the log."""
    return f"no answer within {TRIP_S:g} s" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
