"""What a user can write about the health of a cluster's endpoints."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from shardproxy.config.words import (
    MILLISECOND,
    MINUTE,
    SECOND,
    Count,
    Duration,
    Host,
    Path,
    Percent,
    Statuses,
    Text,
    Timeout,
    Words,
    says,
)


class HealthCheck(Words, frozen=True, kw_only=True):
    """Asks each endpoint of a cluster how it is, once for all workers. The first check decides at once."""

    type: Annotated[
        Literal["http", "tcp"], says("`http` makes a GET request, on a connection of its own; `tcp` only connects.")
    ] = "http"
    path: Annotated[Path, says("What to ask for.")] = "/"
    host: Annotated[Host | None, says("The `Host` to send.", otherwise="the endpoint's address")] = None
    port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None, says("Where to ask.", otherwise="the endpoint's own port")
    ] = None
    expected: Annotated[tuple[Statuses, ...], says("The statuses of a healthy endpoint.", least=1)] = ("200-299",)
    body: Annotated[
        Text | None, says("What the first 64 KiB of the response's body must hold.", otherwise="anything")
    ] = None
    interval: Annotated[Duration, Meta(ge=10 * MILLISECOND), says("From one check to the next.")] = 5 * SECOND
    unhealthy_interval: Annotated[
        Annotated[Duration, Meta(ge=10 * MILLISECOND)] | None,
        says("The same while the endpoint is not healthy.", otherwise="`interval`"),
    ] = None
    timeout: Annotated[Timeout, says("How long a check may take; then it has failed.")] = 2 * SECOND
    jitter: Annotated[
        int, Meta(ge=0, le=50), says("By up to how many percent each interval is longer or shorter, by chance.")
    ] = 10
    unhealthy: Annotated[Count, says("Failed checks in a row after which an endpoint gets no requests.")] = 3
    healthy: Annotated[Count, says("Good checks in a row after which it gets requests again.")] = 2


class OutlierDetection(Words, frozen=True, kw_only=True):
    """Looks at how requests go, over all workers, and gives endpoints that do badly none for a while.

    Bad are answers with a status of 500 or more, broken answers, and requests that could not be sent.
    """

    interval: Annotated[Duration, Meta(ge=100 * MILLISECOND), says("From one look to the next.")] = 10 * SECOND
    base_ejection_time: Annotated[
        Duration, Meta(ge=100 * MILLISECOND), says("How long an endpoint stays out, times how often in a row it was.")
    ] = 30 * SECOND
    max_ejection_time: Annotated[Duration, says("The longest that it stays out, if not less than that.")] = 5 * MINUTE
    max_ejection_percent: Annotated[Percent, says("How many may be out at a time; one of several always may.")] = 10
    consecutive_5xx: Annotated[
        Annotated[int, Meta(ge=0)], says("Failures in a row, whichever workers see them, that eject at once; 0: none.")
    ] = 5
    consecutive_gateway_failure: Annotated[
        Annotated[int, Meta(ge=0)], says("The same of 502, 503, 504 and requests without an answer alone; 0: none.")
    ] = 0
    success_rate: Annotated[bool, says("Eject endpoints that succeed far more rarely than the others.")] = True
    success_rate_endpoints: Annotated[Count, says("With fewer endpoints to compare, none is ejected for that.")] = 5
    success_rate_requests: Annotated[Count, says("Requests in an interval from which an endpoint is compared.")] = 100
    success_rate_stdev_factor: Annotated[
        Count, says("How far below the mean success rate is too far: in thousandths of the standard deviation.")
    ] = 1900
    failure_percentage: Annotated[
        Annotated[int, Meta(ge=1, le=100)] | None,
        says("Eject endpoints of whose requests so many percent fail, such as 85.", otherwise="none is, for that"),
    ] = None
    failure_percentage_endpoints: Annotated[Count, says("With fewer endpoints to judge, none is ejected for that.")] = 5
    failure_percentage_requests: Annotated[Count, says("Requests in an interval from which one is judged.")] = 50
