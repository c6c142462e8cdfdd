from collections.abc import Iterable
from typing import Final

from shardproxy.limits.keys import Key
from shardproxy.shm.keyed import KeyedBuckets
from shardproxy.shm.metrics import Metrics

LONGEST_WAIT_NS: Final[int]
"""How far ahead bytes may be taken: the patience of a table."""

class Allowance:
    """The bucket of one connection, full at first."""

class Bandwidth:
    """One direction of a bandwidth limit: `rate` bytes a second, and `burst` bytes at once after a pause.

    Without `keyed` each connection has a bucket of its own (`Allowance`); with it there is one for all, or with `key`
    too one for each key. The tokens of that table are KiB. The numbers are slots: counters of the bytes that `passed`,
    that were `held` back, of the ns that flows `waited` and of keys `evicted`; and the gauge of flows that are
    `waiting`.
    """

    name: str
    key: Key | None
    piece: int
    is_dry: bool
    def __init__(
        self,
        name: str,
        rate: int,
        burst: int,
        *,
        keyed: KeyedBuckets | None = None,
        key: Key | None = None,
        is_dry: bool = False,
        passed: int = -1,
        held: int = -1,
        waited: int = -1,
        waiting: int = -1,
        evicted: int = -1,
    ) -> None: ...
    def waits(
        self,
        now_ns: int,
        sizes: Iterable[int],
        metrics: Metrics,
        client: bytes | None = None,
        allowance: Allowance | None = None,
    ) -> list[int]:
        """How many ns pieces of these sizes have to wait, one behind the other; below 0: not taken, ask again then."""
