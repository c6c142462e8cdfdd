from collections.abc import Sequence
from typing import Literal, NamedTuple

from shardproxy.shm.gauges import Gauges

class EndpointSpec(NamedTuple):
    """One endpoint: the gauge of its active requests, its weight, the cap of the gauge (None: no cap)."""

    active: int
    weight: int
    cap: int | None

class Cluster:
    """Chooses an endpoint for a request and reserves its slot in the same step, on counts that all workers share."""

    count: int
    def __init__(
        self,
        gauges: Gauges,
        endpoints: Sequence[EndpointSpec],
        *,
        policy: Literal["least_connection", "round_robin", "random"],
        requests: int,
        requests_cap: int | None,
        seed: int,
    ) -> None: ...
    def take(self, excluded: int = 0) -> int:
        """The index of an endpoint whose active count is one higher now; -1 when all are full.

        Those in the bit mask `excluded` (of the first 64) are taken only when no other can be.
        """
    def give(self, index: int) -> None:
        """The request is over: its slot is free again."""
