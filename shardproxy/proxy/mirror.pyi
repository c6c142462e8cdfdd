from shardproxy.proxy.runtime import RouteRuntime
from shardproxy.shm.metrics import Metrics

class Mirror:
    """Sends copies of so many millionths of requests by `route`; `sent` and `dropped` are counters."""

    under_way: int
    def __init__(
        self,
        route: RouteRuntime,
        metrics: Metrics,
        *,
        millionths: int,
        max_body: int,
        sent: int,
        dropped: int,
        seed: int = 1,
    ) -> None: ...
