"""What the demo prints: what to try, one line a second, and a summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from shardproxy.controller.stats import EndpointStats, Stats
from shardproxy.demo.configuration import LIMITED_PATH
from shardproxy.demo.traffic import Traffic


def introduction(port: int, admin: str, origins: Mapping[str, str]) -> str:
    """What runs and what to try; `origins` are names by address."""
    web = f"http://127.0.0.1:{port}"
    return f"""\
shardproxy listens on {web} in front of {len(origins)} origins: {", ".join(origins.values())}.  Try:

    curl -i {web}/
    curl -i -d hello {web}/orders
    curl -i {web}{LIMITED_PATH}          # 5 a second, then 429
    curl {admin}/stats
    shardproxy status --admin {admin}

Ctrl-C ends it.
"""


class Screen:
    """Turns readings into lines; remembers the reading before, since a rate needs two."""

    def __init__(self, origins: Mapping[str, str]) -> None:
        self._origins = origins
        self._last: tuple[float, int] | None = None

    def line(self, stats: Stats, elapsed_s: float) -> str:
        """`  3 s    281 requests/s   active fast-1 1  fast-2 0  slow 2   p50 6.2 ms  p99 52.0 ms`."""
        since_s, before = self._last or (0.0, 0)
        self._last = elapsed_s, stats.requests
        rate = (stats.requests - before) / max(elapsed_s - since_s, 0.001)
        active = "  ".join(f"{name} {endpoint.active}" for name, endpoint in self._endpoints(stats))
        times = stats.request_time
        return (
            f"{elapsed_s:3.0f} s  {rate:6.0f} requests/s   active {active}   "
            f"p50 {times.p50_ms:.1f} ms  p99 {times.p99_ms:.1f} ms"
        )

    def summary(self, stats: Stats, traffic: Traffic, elapsed_s: float) -> str:
        """What happened in all, and who did the work."""
        errors = max(stats.responses["5xx"], traffic.errors)
        refused = sum(limit.refused for limit in stats.rate_limits.values())
        counts = f"{stats.requests} requests, {errors} errors, {refused} refused by the rate limit"
        endpoints = list(self._endpoints(stats))
        done = sum(endpoint.requests for _, endpoint in endpoints)
        shares = (_share(name, endpoint, done) for name, endpoint in endpoints)
        return "\n".join([f"in {elapsed_s:.1f} s: {counts}", *shares])

    def _endpoints(self, stats: Stats) -> Iterator[tuple[str, EndpointStats]]:
        """Name and numbers of every origin."""
        for cluster in stats.clusters.values():
            for address, endpoint in cluster.endpoints.items():
                yield self._origins.get(address, address), endpoint


def _share(name: str, endpoint: EndpointStats, done: int) -> str:
    share = endpoint.requests / max(done, 1)
    times = f"p50 {endpoint.time.p50_ms:.1f} ms, p99 {endpoint.time.p99_ms:.1f} ms"
    return f"  {name:8} {share:6.1%}  {endpoint.requests} requests, {times}"
