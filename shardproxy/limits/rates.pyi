from collections.abc import Sequence

from shardproxy.shm.buckets import Bucket
from shardproxy.shm.metrics import Metrics

class RateLimit:
    """One named limit: its bucket in shared memory, and the counters of what it let through and what not."""

    bucket: Bucket
    def __init__(self, bucket: Bucket, admitted: int, refused: int) -> None: ...

class RateLimits:
    """The limits of a route. A request costs one token of each."""

    def __init__(self, limits: Sequence[RateLimit], metrics: Metrics) -> None: ...
    def take(self, now_ns: int) -> int:
        """0 when all admit; else nothing is charged, and this is how many ns to wait."""
