"""What a cluster has done since somebody looked the last time, over all workers."""

from __future__ import annotations

from dataclasses import dataclass, field

from shardproxy.config.schema import Cluster
from shardproxy.shm import names
from shardproxy.shm.metrics import Metrics, quantile
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots

READER = 0  # totals are read, nothing is counted


@dataclass(frozen=True)
class Seen:
    """`counts` are the responses that ended, by how long they took as in a histogram; `failed` counts what went wrong,
    some of it without a response."""

    counts: list[int]
    failed: int

    @property
    def ended(self) -> int:
        return sum(self.counts)

    @property
    def failed_share(self) -> float:
        """From 0 to 1."""
        return self.failed / max(self.ended, self.failed, 1)

    def quantile_ns(self, share: float) -> float:
        """Within which `share` of the responses were complete; 0 if there were none."""
        return quantile(self.counts, share)


@dataclass(frozen=True)
class Places:
    """Where a cluster's numbers are: of each endpoint the histogram of times and the counters of what went wrong."""

    times: tuple[int, ...]
    failures: tuple[int, ...]


def places_of(cluster: Cluster, slots: Slots) -> Places:
    keys = [(cluster.name, str(endpoint.address)) for endpoint in cluster.endpoints]
    bad = (names.endpoint_failures, names.endpoint_errors, names.endpoint_unreached)
    return Places(
        tuple(slots.histogram(names.endpoint_time(*key)) for key in keys),
        tuple(slots.counter(name(*key)) for key in keys for name in bad),
    )


@dataclass
class Watch:
    """Cost of a look: the cells of every endpoint in every worker's row."""

    segment: Segment
    places: Places
    _counts: list[int] = field(default_factory=list)
    _failed: int = 0

    def __post_init__(self) -> None:
        self._metrics = Metrics(self.segment, READER)
        self.take()

    def take(self) -> Seen:
        """What was counted since the last time; the first time nothing is new."""
        totals = map(self._metrics.histogram_total, self.places.times)
        counts = [sum(part) for part in zip(*totals, strict=True)]
        failed = sum(map(self._metrics.counter_total, self.places.failures))
        new = [max(0, now - before) for now, before in zip(counts, self._counts or counts, strict=True)]
        new_failed = max(0, failed - self._failed) if self._counts else 0
        self._counts, self._failed = counts, failed
        return Seen(new, new_failed)
