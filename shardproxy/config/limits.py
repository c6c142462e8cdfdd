"""What a user can write about a rate limit."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from shardproxy.config.adaptive import AdaptiveRate
from shardproxy.config.words import (
    Count,
    Duration,
    File,
    Name,
    Rate,
    Size,
    StoreAddress,
    Template,
    Text,
    Token,
    Words,
    says,
)

MOST_KEYS = 1 << 24


class LimitKey(Words, frozen=True, kw_only=True):
    """What a limit is kept by; several together make one key. A request that lacks one of them is not limited."""

    lone: ClassVar[str | None] = "address"

    address: Annotated[
        Literal["client_ip"] | None,
        says("The client's address, as `trusted_proxies` tell it.", otherwise="not by address"),
    ] = None
    ipv4_prefix: Annotated[int, Meta(ge=1, le=32), says("How many bits of an IPv4 address count.")] = 32
    ipv6_prefix: Annotated[int, Meta(ge=1, le=128), says("How many bits of an IPv6 address count.")] = 64
    header: Annotated[Token | None, says("A field of the request.", otherwise="not by a field")] = None
    cookie: Annotated[Token | None, says("A cookie.", otherwise="not by a cookie")] = None
    query: Annotated[Token | None, says("A query parameter, as it is written.", otherwise="not by one")] = None
    path: Annotated[
        Template | None,
        says("The path's segment in the place of the name in braces, whatever follows it.", otherwise="not by one"),
    ] = None


class LimitCost(Words, frozen=True, kw_only=True):
    """How many tokens a request takes; a number alone stands for `tokens`."""

    lone: ClassVar[str | None] = "tokens"

    tokens: Annotated[Count, says("That many; with `header` at most that many.")] = 1
    header: Annotated[
        Token | None, says("A field of the request that tells how many; 1 without it.", otherwise="none tells")
    ] = None
    response: Annotated[
        Annotated[Size, Meta(ge=1)] | None,
        says("One more for each so many bytes of the response's body, once it is sent.", otherwise="none"),
    ] = None


class LimitOverride(Words, frozen=True, kw_only=True):
    """One key with a limit of its own."""

    key: Annotated[Text, says("The key: the field's value, or the address.")]
    rate: Annotated[Rate, says("Requests admitted in the long run.")]
    burst: Annotated[
        Count | None, says("Requests admitted at once after a pause.", otherwise="one second's worth, at least 1")
    ] = None


class RateLimit(Words, frozen=True, kw_only=True):
    """A token bucket, or one for each key, over all workers together."""

    name: Annotated[Name, says("What routes call it.")]
    rate: Annotated[Rate, says("Requests admitted in the long run, of each key.")]
    burst: Annotated[
        Count | None,
        says("Requests admitted at once after a pause.", otherwise="one second's worth, at least 1"),
    ] = None
    key: Annotated[LimitKey | None, says("What it is kept by.", otherwise="one bucket for all requests")] = None
    keys: Annotated[
        int,
        Meta(ge=16, le=MOST_KEYS),
        says("For how many keys at a time there is room; then those go whose buckets are nearest to being full."),
    ] = 65536
    overrides: Annotated[tuple[LimitOverride, ...], says("Keys with limits of their own.", least=1)] = ()
    cost: Annotated[LimitCost, says("What a request takes.")] = LimitCost()
    delay: Annotated[
        Duration, says("Requests that would be admitted within this time wait for it; others are refused.")
    ] = 0
    adaptive: Annotated[
        AdaptiveRate | None,
        says(
            "The rate follows how a cluster fares, from `rate` on, and `burst` with it. Not with `key` or `store`.",
            otherwise="the rate stays",
        ),
    ] = None
    store: Annotated[
        StoreAddress | None,
        says(
            "A Redis or Valkey: the limit holds over all machines that share it. Not with `key` or `delay`.",
            otherwise="it holds on this machine",
        ),
    ] = None
    store_password_file: Annotated[
        File | None,
        says("A file whose first line is the store's password; read for every connection.", otherwise="no password"),
    ] = None
    on_store_failure: Annotated[
        Literal["local", "open", "closed"],
        says(
            "Without an answer of the store for half a second: `local` limits on this machine alone, at the full rate; "
            "`open` admits everything, `closed` nothing."
        ),
    ] = "local"
    dry_run: Annotated[bool, says("Refuse nothing, only count what would be refused.")] = False
    x_ratelimit: Annotated[
        bool, says("Tell refused clients in `X-RateLimit-*` fields, too, beside `RateLimit` and `Retry-After`.")
    ] = False


def burst_of(limit: RateLimit | LimitOverride) -> int:
    """The bucket's size: as written, or one second's worth, at least 1."""
    return limit.burst if limit.burst is not None else max(1, math.floor(limit.rate))


def places(limit: RateLimit) -> int:
    """For how many keys its table has room: as written, or the next power of two."""
    return 1 << (limit.keys - 1).bit_length()


def key_text(key: LimitKey | None) -> str:
    """By what a limit is kept: keys that read the same of a request have the same text; empty: by nothing."""
    if key is None:
        return ""
    parts = [f"address/{key.ipv4_prefix}/{key.ipv6_prefix}"] if key.address else []
    parts += [f"header={key.header.lower()}"] if key.header is not None else []
    parts += [f"cookie={key.cookie}"] if key.cookie is not None else []
    parts += [f"query={key.query}"] if key.query is not None else []
    parts += [f"path={key.path.partition('{')[0]}"] if key.path is not None else []
    return " ".join(parts)
