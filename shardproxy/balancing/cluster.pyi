from collections.abc import Sequence
from typing import Literal, NamedTuple

from shardproxy.balancing.levels import Levels
from shardproxy.shm.decisions import Decisions
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.metrics import Metrics

class EndpointSpec(NamedTuple):
    """One endpoint: the gauge of its active requests, its weight, the cap of the gauge (None: no cap), its decision."""

    active: int
    weight: int
    cap: int | None
    decision: int = 0

class Health(NamedTuple):
    """What a cluster whose endpoints are checked looks at.

    When less than `panic_threshold` percent of the endpoints are healthy, health is ignored for the choice, and that is
    counted in the counter `panics`; 0 never ignores it. `levels` share requests out over priorities and zones.
    """

    decisions: Decisions
    panic_threshold: int
    metrics: Metrics
    panics: int
    levels: Levels | None = None

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
        health: Health | None = None,
    ) -> None: ...
    def take(self, excluded: int = 0) -> int:
        """The index of an endpoint whose active count is one higher now; -1: all are full, -2: none is healthy.

        Those in the bit mask `excluded` (of the first 64) are taken only when no other can be.
        """
    def give(self, index: int) -> None:
        """The request is over: its slot is free again."""
