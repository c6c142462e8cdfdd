from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from shardproxy.balancing.levels import Levels
from shardproxy.shm.decisions import Decisions
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.words import Words

Policy: TypeAlias = Literal["least_connection", "round_robin", "random", "first", "peak_ewma", "ring_hash", "maglev"]

class EndpointSpec(NamedTuple):
    """One endpoint: the gauge of its active requests, its weight, the cap of the gauge (None: no cap), its decision.

    `name` is what it is hashed by. `latency` and `since` are words for `peak_ewma` and slow start; below 0 they are the
    process's own.
    """

    active: int
    weight: int
    cap: int | None
    decision: int = 0
    name: bytes = b""
    latency: int = -1
    since: int = -1

class SlowStart(NamedTuple):
    """New and recovered endpoints weigh less for this long, by Envoy's formula."""

    window_ns: int
    aggression: float
    min_weight_percent: int

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

class AdaptiveCap(NamedTuple):
    """A cap on the whole cluster's requests that the controller finds out: a word, what holds until it is there, and
    the most that it can be.  With `metrics` it only counts, in `would_refuse`, what it would refuse."""

    words: Words
    slot: int
    start: int
    most: int
    metrics: Metrics | None = None
    would_refuse: int = -1

class Cluster:
    """Chooses an endpoint for a request and reserves its slot in the same step, on counts that all workers share."""

    count: int
    def __init__(
        self,
        gauges: Gauges,
        endpoints: Sequence[EndpointSpec],
        *,
        policy: Policy,
        requests: int,
        requests_cap: int | None,
        seed: int,
        health: Health | None = None,
        words: Words | None = None,
        turn: int = -1,
        slow_start: SlowStart | None = None,
        decay_ns: int = ...,
        hash_balance_factor: int = 0,
        adaptive: AdaptiveCap | None = None,
    ) -> None:
        """`turn` is the word of a round robin's position; `decay_ns` is of `peak_ewma`; `hash_balance_factor`
        (percent) bounds the loads of `ring_hash` and `maglev`."""
    def take(self, excluded: int = 0, key: int | None = None) -> int:
        """The index of an endpoint whose active count is one higher now; -1: all are full, -2: none is healthy.

        Those in the bit mask `excluded` (of the first 64) are taken only when no other can be.
        """
    def took(self, index: int, took_ns: int, failed: bool = False) -> None:
        """A response took so long, or failed: what `peak_ewma` learns from."""
    def give(self, index: int) -> None:
        """The request is over: its slot is free again."""
