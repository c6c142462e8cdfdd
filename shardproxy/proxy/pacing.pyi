from collections.abc import Sequence

from shardproxy.limits.bandwidth import Bandwidth

class BandwidthPlan:
    """The bandwidth limits of a route: what its requests' bodies may bring (`up`), and its responses' (`down`)."""

    def __init__(self, up: Sequence[Bandwidth] = (), down: Sequence[Bandwidth] = ()) -> None: ...
