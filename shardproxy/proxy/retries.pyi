from collections.abc import Iterable

from shardproxy.shm.gauges import Gauges
from shardproxy.shm.metrics import Metrics

class RetryBudget:
    """How many retries of a cluster may be under way at a time, over all workers: Envoy's `retry_budget`.

    `active` are the gauges of the requests under way at its endpoints, `retries` the gauge of its retries; `granted`
    and `refused` are counters.
    """

    percent: int
    min_concurrency: int
    limit: int
    """At this moment: max(min_concurrency, percent of the requests under way), at most `max_retries`."""
    def __init__(
        self,
        gauges: Gauges,
        metrics: Metrics,
        active: Iterable[int],
        *,
        percent: int,
        min_concurrency: int,
        retries: int,
        granted: int,
        refused: int,
        max_retries: int | None = None,
    ) -> None: ...
    def take(self) -> bool:
        """Begin a retry: true if the budget has a place, which is taken then."""
    def give(self) -> None:
        """The retry is over."""

class RetryPolicy:
    """What a route tries again: `on` as in the configuration; `attempts` after the first, `max_body` in bytes.

    `per_try_ns` 0: only `timeout_ns`, for all tries together, bounds one.  Raises `KeyError` for an unknown word.
    """

    def __init__(
        self,
        budget: RetryBudget | None,
        on: Iterable[str],
        *,
        statuses: Iterable[int] = (),
        attempts: int,
        timeout_ns: int,
        per_try_ns: int,
        base_ns: int,
        max_ns: int,
        max_body: int,
        budgets: dict[str, RetryBudget] | None = None,
    ) -> None: ...
    def backoff_ns(self, number: int, draw: float) -> int:
        """The wait before the `number`-th retry for a `draw` from [0, 1)."""
    def retries_fault(self, fault: int) -> bool: ...
    def retries_status(self, status: int) -> bool: ...
