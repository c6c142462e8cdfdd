from collections.abc import Iterable, Sequence

from shardproxy.http1.head import Head
from shardproxy.limits.keys import Key
from shardproxy.limits.leases import Lease
from shardproxy.shm.buckets import Bucket
from shardproxy.shm.keyed import KeyedBuckets
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.words import Words

class RateLimit:
    """One named limit: its bucket in shared memory, or its buckets by key; and how it is charged.

    `admitted`, `refused`, `delayed` and `evicted` are the counters of what it did. `overrides` are pairs of a key's
    hash and a bucket of its own. With `patience_ns` a request may be admitted that long before its tokens are there,
    and has to wait. A request costs `cost` tokens, or what `cost_field` says up to that; and afterwards one for every
    `bytes_per_token` of its response's body. A dry one counts what it would refuse, and refuses nothing; with
    `tells_all` a refused client gets X-RateLimit fields, too. With a `lease` its tokens come first, and the bucket only
    stands in for a store that does not answer. With `words` the rate is what the word `interval` says, if anything.
    """

    name: str
    bucket: Bucket
    """Only of a limit without a key."""
    is_dry: bool
    tells_all: bool
    def __init__(
        self,
        bucket: Bucket | None,
        admitted: int,
        refused: int,
        *,
        name: str = "",
        keyed: KeyedBuckets | None = None,
        key: Key | None = None,
        overrides: Iterable[tuple[int, Bucket]] = (),
        patience_ns: int = 0,
        cost: int = 1,
        cost_field: bytes | None = None,
        bytes_per_token: int = 0,
        is_dry: bool = False,
        tells_all: bool = False,
        delayed: int = -1,
        evicted: int = -1,
        lease: Lease | None = None,
        words: Words | None = None,
        interval: int = -1,
    ) -> None: ...

class RateLimits:
    """The limits of a route, at most 16."""

    limits: tuple[RateLimit, ...]
    needs_client: bool
    counts_bytes: bool
    def __init__(self, limits: Sequence[RateLimit], metrics: Metrics) -> None: ...
    def take(self, now_ns: int, head: Head | None = None, client: bytes = b"") -> int:
        """0 when all admit; else how many ns to wait: before the request goes on, or, refused, before the next try."""

    def ask(self, now_ns: int, head: Head | None = None, client: bytes = b"") -> tuple[int, int]:
        """Which limit refused, or -1; and the wait. Nothing is charged when one refuses."""

    def charge(self, now_ns: int, size: int, head: Head | None = None, client: bytes = b"") -> None:
        """The response's body had `size` bytes."""
