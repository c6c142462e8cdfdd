"""What a user can write about a bandwidth limit."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from shardproxy.config.limits import MOST_KEYS, LimitKey
from shardproxy.config.words import KIB, ByteRate, Name, Size, Words, says

BURST_PER_S = 10  # the default burst is the bytes of a tenth of a second


class BandwidthLimit(Words, frozen=True, kw_only=True):
    """How many bytes of bodies a second may pass: over one connection, of one key, or of all.

    What is too early is held back and goes out evenly; nothing is refused.
    """

    name: Annotated[Name, says("What routes call it.")]
    down: Annotated[
        Annotated[ByteRate, Meta(ge=KIB)] | None,
        says("To clients: bodies of responses, and tunnels.", otherwise="not limited"),
    ] = None
    up: Annotated[
        Annotated[ByteRate, Meta(ge=KIB)] | None,
        says("From clients: bodies of requests, and tunnels.", otherwise="not limited"),
    ] = None
    burst: Annotated[
        Annotated[Size, Meta(ge=KIB)] | None,
        says("So much passes at once after a pause, each way.", otherwise="a tenth of a second's worth"),
    ] = None
    per_connection: Annotated[
        bool, says("Each client connection has its own, whatever its requests are. Not with `key`.")
    ] = False
    key: Annotated[
        LimitKey | None,
        says("What it is kept by, over all workers; requests without it pass freely.", otherwise="all share it"),
    ] = None
    keys: Annotated[
        int,
        Meta(ge=16, le=MOST_KEYS),
        says("For how many keys there is room; then those go whose buckets are nearest to being full."),
    ] = 65536
    dry_run: Annotated[bool, says("Hold nothing back, only count what would be held back.")] = False


def burst_bytes(limit: BandwidthLimit, rate: int) -> int:
    """The bucket's size at `rate`, one of the limit's two: as written, or of a tenth of a second, at least 1 KiB."""
    return limit.burst if limit.burst is not None else max(KIB, rate // BURST_PER_S)


def table_places(limit: BandwidthLimit) -> int:
    """For how many keys its table has room; the smallest one where there is one bucket for all."""
    return 16 if limit.key is None else 1 << (limit.keys - 1).bit_length()
