"""What a user can write about a cluster: its servers, how they share requests, and when one is tried no more."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from shardproxy.config.adaptive import Adaptive
from shardproxy.config.discovery import Dns as Dns
from shardproxy.config.health import HealthCheck, OutlierDetection
from shardproxy.config.words import (
    MINUTE,
    SECOND,
    Bind,
    Count,
    File,
    Label,
    Name,
    Percent,
    Timeout,
    Words,
    says,
)


class Keepalive(Words, frozen=True, kw_only=True):
    """Connections to endpoints that are kept for the next request."""

    max_idle: Annotated[
        int, Meta(ge=0, le=65535), says("Idle connections to keep, per worker and endpoint; 0 keeps none.")
    ] = 256
    idle_timeout: Annotated[
        Timeout, says("How long to keep an idle connection; choose less than the endpoint does.")
    ] = MINUTE
    max_requests: Annotated[Count | None, says("Requests on one connection before it is closed.")] = None


class Endpoint(Words, frozen=True, kw_only=True):
    """One server of a cluster; its address alone may stand for it."""

    lone: ClassVar[str | None] = "address"

    address: Annotated[Bind, says("Where to connect.")]
    weight: Annotated[int, Meta(ge=1, le=1000), says("Its share relative to the others'.")] = 1
    max_requests: Annotated[Count | None, says("Requests at a time, over all workers together.")] = None
    max_connections: Annotated[
        Count | None, says("Connections, idle ones included, over all workers together. Not with `queue`.")
    ] = None
    drain: Annotated[bool, says("Give it no new requests; those under way finish.")] = False
    priority: Annotated[
        int, Meta(ge=0, le=127), says("0 is used first; the next ones take what those before are too ill for.")
    ] = 0
    zone: Annotated[
        Name | None,
        says("Where it stands; in a priority those of the proxy's own `zone` are used first.", otherwise="elsewhere"),
    ] = None
    labels: Annotated[
        tuple[Label, ...], says("What it is, such as `version=v2`: a route's `subset` asks for it.", least=1)
    ] = ()


class RetryBudget(Words, frozen=True, kw_only=True):
    """Retries of a cluster at a time, over all workers together: the larger of both; more are not made."""

    percent: Annotated[int, Meta(ge=0, le=100), says("Of the requests that are under way.")] = 20
    min_concurrency: Annotated[int, Meta(ge=0, le=65535), says("Always allowed.")] = 3


class Queue(Words, frozen=True, kw_only=True):
    """Waiting for a free place while a cluster is full, instead of 503 at once; first come, first served."""

    max: Annotated[
        Annotated[int, Meta(ge=1, le=65535)],
        says("Requests that may wait at a time, over all workers together; more are answered with 503."),
    ] = 1000
    timeout: Annotated[Timeout, says("How long one may wait; then 503.")] = 5 * SECOND


class SlowStart(Words, frozen=True, kw_only=True):
    """A new or recovered endpoint gets less at first: its weight times (age / `window`) ^ (100 / `aggression`)."""

    window: Annotated[Timeout, says("Until it gets its full share.")] = 30 * SECOND
    aggression: Annotated[
        int,
        Meta(ge=10, le=1000),
        says("Percent: with 100 its share grows evenly, with more faster at first, with less slower (Envoy's x 100)."),
    ] = 100
    min_weight_percent: Annotated[
        int, Meta(ge=1, le=100), says("What it begins with, in percent of its weight.")
    ] = 10


class Cluster(Words, frozen=True, kw_only=True):
    """Servers that answer the same requests, and how they share them."""

    later: ClassVar[frozenset[str]] = frozenset({"tls"})

    name: Annotated[Name, says("What routes call it.")]
    balance: Annotated[
        Literal["least_connection", "round_robin", "random", "first", "peak_ewma", "ring_hash", "maglev"],
        says(
            "How to choose an endpoint: the one with the fewest requests for its weight, in turn, by chance, the first "
            "with room, the one that answers soonest, or (the last two) by the `hash` of routes."
        ),
    ] = "least_connection"
    endpoints: Annotated[
        tuple[Endpoint, ...], says("Its servers; or one word, which is taken for `dns`.", least=1, lone="dns")
    ] = ()
    endpoints_file: Annotated[
        File | None,
        says("A file with a list as `endpoints`, read again whenever it is replaced.", otherwise="none is read"),
    ] = None
    dns: Annotated[Dns | None, says("A name in DNS whose records are its servers.", otherwise="none is asked for")] = (
        None
    )
    hash_balance_factor: Annotated[
        Annotated[int, Meta(ge=100, le=10000)] | None,
        says(
            "For `ring_hash` and `maglev`: percent of its even share of requests under way that an endpoint may have; "
            "more go on to others.",
            otherwise="any share",
        ),
    ] = None
    decay: Annotated[
        Timeout, says("For `peak_ewma`: how long slow responses are remembered; a third is left after this time.")
    ] = 10 * SECOND
    slow_start: Annotated[
        SlowStart | None,
        says("Give new and recovered endpoints less at first.", otherwise="their full share at once"),
    ] = None
    connect_timeout: Annotated[Timeout, says("How long to wait for a connection to an endpoint.")] = 5 * SECOND
    max_connections: Annotated[
        Count | None,
        says(
            "Connections to its endpoints at a time, over all workers together; idle ones count, and make way within "
            "their worker, or for those who wait in `queue`. Without it, a request that gets none is answered with 503."
        ),
    ] = None
    max_requests: Annotated[
        Count | None, says("Requests at a time, over all workers together; more are answered with 503.")
    ] = None
    max_retries: Annotated[
        Count | None, says("Retries at a time, over all workers together.", otherwise="as `retry_budget` says")
    ] = None
    queue: Annotated[
        Queue | None,
        says("Wait when as many requests as allowed are under way.", otherwise="503 at once"),
    ] = None
    adaptive: Annotated[
        Adaptive | None,
        says("Find out how many requests at a time its endpoints can bear.", otherwise="only `max_requests` holds"),
    ] = None
    proxy_protocol: Annotated[
        Literal["v1", "v2"] | None,
        says(
            "Begin every connection to an endpoint with a PROXY protocol header of this version; such a connection "
            "belongs to one client, so it serves one request.",
            otherwise="no such header",
        ),
    ] = None
    health_check: Annotated[
        HealthCheck | None, says("How to find out which endpoints are healthy.", otherwise="all are taken for healthy")
    ] = None
    outlier_detection: Annotated[
        OutlierDetection | None, says("Eject endpoints by how requests go.", otherwise="none is ejected")
    ] = None
    panic_threshold: Annotated[
        Percent,
        says("With less than so many percent of the endpoints healthy, all are used; 0: never, but 503 if none is."),
    ] = 50
    overprovisioning: Annotated[
        int,
        Meta(ge=100, le=1000),
        says("Percent: how many more requests healthy endpoints bear, before the next priority or zone gets some."),
    ] = 140
    retry_budget: Annotated[RetryBudget, says("How many retries its routes may make at a time.")] = RetryBudget()
    keepalive: Annotated[Keepalive, says("Connections kept for the next request.")] = Keepalive()


def in_use(cluster: Cluster) -> list[Endpoint]:
    """Those that may get requests; one that drains is not there for whoever chooses, and does not count for panic."""
    return [endpoint for endpoint in cluster.endpoints if not endpoint.drain]
