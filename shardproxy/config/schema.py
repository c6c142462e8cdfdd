"""Every word a user can write: frozen structs, with prose per field.

The reader (`build.py`), the JSON Schema, `docs/configuration.md` and `to_plain` all follow from what stands here.
"""

from __future__ import annotations

import math
import os
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from shardproxy.config.health import HealthCheck as HealthCheck
from shardproxy.config.health import OutlierDetection as OutlierDetection
from shardproxy.config.units import Address
from shardproxy.config.words import (
    KIB,
    MILLISECOND,
    MINUTE,
    SECOND,
    Bind,
    Count,
    Duration,
    File,
    Host,
    ListenerName,
    Name,
    Network,
    Path,
    Percent,
    Protocol,
    Rate,
    Size,
    Timeout,
    Token,
    User,
    Words,
    says,
)


class Timeouts(Words, frozen=True, kw_only=True):
    """How long a listener waits for its clients."""

    request_head: Annotated[
        Timeout, says("From the first byte of a request, or from accepting, until its head is complete.")
    ] = 10 * SECOND
    request_body: Annotated[Timeout, says("The longest silence inside a request's body.")] = MINUTE
    idle: Annotated[Timeout, says("How long a kept connection may wait for its next request.")] = MINUTE
    stream_idle: Annotated[Timeout, says("The longest silence of a response, once its head has come.")] = 5 * MINUTE
    tunnel_idle: Annotated[Timeout, says("The longest silence of a tunnel (see `upgrade`), both ways.")] = 60 * MINUTE
    min_body_rate: Annotated[
        Size | None,
        says("Bytes per second that a request's body must bring on average, after `request_body`; left out: any."),
    ] = None


class Match(Words, frozen=True, kw_only=True):
    """Which requests a route takes: exactly one of `prefix` and `path`, and any of `hosts`."""

    later: ClassVar[frozenset[str]] = frozenset({"methods", "headers", "query", "cookies"})

    hosts: Annotated[
        tuple[Host, ...],
        says("Hosts, exact or as `*.example.com`.", otherwise="any host", least=1),
    ] = ()
    prefix: Annotated[
        Path | None, says("The path begins with this, compared byte by byte.", otherwise="needs `path`")
    ] = None
    path: Annotated[Path | None, says("The path is exactly this, without the query.", otherwise="needs `prefix`")] = (
        None
    )


class Backoff(Words, frozen=True, kw_only=True):
    """The wait before the n-th retry: by chance between 0 and (2^n - 1) x `base`, at most `max`."""

    base: Annotated[Timeout, says("The longest wait before the first retry.")] = 25 * MILLISECOND
    max: Annotated[Timeout | None, says("The longest wait of all.", otherwise="ten times `base`")] = None


class Retry(Words, frozen=True, kw_only=True):
    """Which requests are tried again, on another endpoint where there is one; never once a byte of a response is out.

    As in Envoy the method does not matter: `connect-failure` and `refused` are safe for every request, the other
    conditions may run a request twice, POST too.
    """

    later: ClassVar[frozenset[str]] = frozenset({"headers"})

    on: Annotated[
        tuple[Literal["connect-failure", "refused", "reset", "gateway-error", "5xx", "retriable-status"], ...],
        says(
            "After what: no connection (`refused`: before its timeout), no response (`reset`: closed, broken or late; "
            "no connection too), 502 to 504 or any 5xx (both: or no response), or one of `statuses`.",
            least=1,
        ),
    ]
    attempts: Annotated[int, Meta(ge=1, le=10), says("Retries after the first try.")] = 1
    statuses: Annotated[
        tuple[Annotated[int, Meta(ge=200, le=599)], ...],
        says("For `retriable-status`.", otherwise="none", least=1),
    ] = ()
    per_try_timeout: Annotated[
        Timeout | None,
        says("For the response's head of one try; the route's `timeout` bounds all of them.", otherwise="`timeout`"),
    ] = None
    backoff: Annotated[Backoff, says("The wait before a retry.")] = Backoff()
    max_body: Annotated[
        Size, says("A request with a longer body is not tried again once the first bytes of it have left.")
    ] = 64 * KIB


class Route(Words, frozen=True, kw_only=True):
    """Where matching requests go, and under which limits."""

    later: ClassVar[frozenset[str]] = frozenset({"filters", "redirect", "rewrite", "response"})

    match: Annotated[Match, says("Which requests this route takes.")]
    cluster: Annotated[Name, says("The name of the cluster that answers them.")]
    timeout: Annotated[Timeout, says("From the end of the request until the response's head has come; then 504.")] = (
        15 * SECOND
    )
    rate_limits: Annotated[
        tuple[Name, ...], says("Names of rate limits; each must admit the request, otherwise 429.")
    ] = ()
    retry: Annotated[Retry | None, says("When to try again.", otherwise="never")] = None
    upgrade: Annotated[
        tuple[Protocol, ...],
        says(
            "Protocols that a client may switch to, such as `websocket`; others go on as plain requests. "
            "`connect` allows tunnels by the CONNECT method."
        ),
    ] = ()


class Listener(Words, frozen=True, kw_only=True):
    """An address that clients connect to, and its routes."""

    later: ClassVar[frozenset[str]] = frozenset({"access_log", "tls", "filters"})

    bind: Annotated[Bind, says("Where to listen.")]
    name: Annotated[ListenerName, says("What statistics and logs call it.", otherwise="its address")] = ""
    routes: Annotated[
        tuple[Route, ...],
        says("The most specific host decides, then the first match in order.", least=1),
    ]
    max_connections: Annotated[
        Count | None, says("Connections at a time, over all workers together; more are closed at once.")
    ] = None
    on_full: Annotated[
        Literal["refuse", "wait"],
        says("At `max_connections`: `refuse` answers 503 and closes; `wait` lets clients wait to be accepted."),
    ] = "refuse"
    max_connections_per_client: Annotated[
        Count | None,
        says(
            "Connections at a time from one client address (IPv6: from one /64), over all workers together; "
            "more are answered with 429."
        ),
    ] = None
    proxy_protocol: Annotated[
        bool,
        says(
            "Every connection begins with a PROXY protocol header, version 1 or 2, which names its client; "
            "one without it is closed. Only for listeners that nobody but such proxies can reach."
        ),
    ] = False
    trusted_proxies: Annotated[
        Annotated[int, Meta(ge=1, le=32)] | tuple[Network, ...],
        says(
            "The proxies in front: their networks, or how many there are one behind the other. From them "
            "`X-Forwarded-*` and `X-Request-Id` are believed, and the client is the first address in "
            "`X-Forwarded-For`, from the right, that is none of them; from others these fields are replaced.",
            otherwise="such fields go on, with our entry added, and are not believed",
        ),
    ] = ()
    forwarded: Annotated[
        bool, says("Tell endpoints of the client in the standard `Forwarded` field (RFC 7239), too.")
    ] = False
    client_address_field: Annotated[
        Token | None,
        says(
            "A field, such as `X-Real-IP`, that tells endpoints the client's address; a client's own is replaced.",
            otherwise="no such field",
        ),
    ] = None
    max_body: Annotated[Size | None, says("The largest request body; more is answered with 413.")] = None
    timeouts: Annotated[Timeouts, says("How long to wait for clients.")] = Timeouts()
    max_head: Annotated[
        Size, Meta(ge=KIB, le=1024 * KIB), says("The largest request head; more is answered with 431.")
    ] = 32 * KIB
    max_fields: Annotated[
        int, Meta(ge=1, le=1000), says("The most header fields of a request; more is answered with 431.")
    ] = 100
    normalize_path: Annotated[
        bool,
        says("Remove dot segments, undo needless escapes and refuse `%00`, before routing and for the endpoint."),
    ] = False
    merge_slashes: Annotated[bool, says("Make `//` in a path one slash.")] = False
    escaped_slashes: Annotated[
        Literal["keep", "reject", "unescape"], says("What becomes of `%2F` and `%5C` in a path.")
    ] = "keep"
    via: Annotated[Token | None, says("The name to give in `Via` fields.", otherwise="no such field")] = None


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


class RetryBudget(Words, frozen=True, kw_only=True):
    """Retries of a cluster at a time, over all workers together: the larger of both; more are not made."""

    percent: Annotated[int, Meta(ge=0, le=100), says("Of the requests that are under way.")] = 20
    min_concurrency: Annotated[int, Meta(ge=0, le=65535), says("Always allowed.")] = 3


class Cluster(Words, frozen=True, kw_only=True):
    """Servers that answer the same requests, and how they share them."""

    later: ClassVar[frozenset[str]] = frozenset({"discovery", "tls", "adaptive"})

    name: Annotated[Name, says("What routes call it.")]
    balance: Annotated[
        Literal["least_connection", "round_robin", "random"],
        says(
            "How to choose an endpoint: the one with the fewest requests for its weight, in turn, or by chance.",
            later=frozenset({"ring_hash", "maglev"}),
        ),
    ] = "least_connection"
    endpoints: Annotated[tuple[Endpoint, ...], says("Its servers.", least=1)]
    connect_timeout: Annotated[Timeout, says("How long to wait for a connection to an endpoint.")] = 5 * SECOND
    max_connections: Annotated[
        Count | None, says("Connections to its endpoints at a time, over all workers together.")
    ] = None
    max_requests: Annotated[
        Count | None, says("Requests at a time, over all workers together; more are answered with 503.")
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
    retry_budget: Annotated[RetryBudget, says("How many retries its routes may make at a time.")] = RetryBudget()
    keepalive: Annotated[Keepalive, says("Connections kept for the next request.")] = Keepalive()


class RateLimit(Words, frozen=True, kw_only=True):
    """One token bucket over all workers together."""

    later: ClassVar[frozenset[str]] = frozenset({"key"})

    name: Annotated[Name, says("What routes call it.")]
    rate: Annotated[Rate, says("Requests admitted in the long run.")]
    burst: Annotated[
        Count | None,
        says("Requests admitted at once after a pause.", otherwise="one second's worth, at least 1"),
    ] = None


class Admin(Words, frozen=True, kw_only=True):
    """The admin interface: `/ready`, `/live`, `/stats`, `/config`."""

    bind: Annotated[Bind, says("Where it listens; it has no login, so keep it off public addresses.")] = Address(
        "127.0.0.1", 9901
    )


class Log(Words, frozen=True, kw_only=True):
    """The program's own log, on standard error."""

    format: Annotated[Literal["plain", "json"], says("Lines for people or JSON objects for machines.")] = "plain"
    level: Annotated[Literal["debug", "info", "warning", "error"], says("The least important messages to log.")] = (
        "info"
    )


class Config(Words, frozen=True, kw_only=True):
    """The whole file."""

    listeners: Annotated[tuple[Listener, ...], says("Addresses that clients connect to.", least=1)]
    clusters: Annotated[tuple[Cluster, ...], says("Servers behind the proxy.", least=1)]
    rate_limits: Annotated[tuple[RateLimit, ...], says("Limits that routes may name.")] = ()
    workers: Annotated[
        Annotated[int, Meta(ge=1, le=512)] | Literal["auto"],
        says("Worker processes; `auto`: one per CPU this process may run on."),
    ] = "auto"
    admin: Annotated[Admin, says("The admin interface.")] = Admin()
    drain_timeout: Annotated[Duration, says("How long a stop waits for requests that run; then they are cut.")] = (
        30 * SECOND
    )
    drain_delay: Annotated[
        Duration,
        says("How long a stop serves on while `/ready` says 503 already, so that a balancer in front can see it."),
    ] = 0
    restart_timeout: Annotated[
        Timeout,
        says(
            "How long a hot restart waits for the new code to prove itself, and then for its workers to be ready; "
            "otherwise the old ones serve on."
        ),
    ] = 30 * SECOND
    max_generations: Annotated[
        int,
        Meta(ge=1, le=16),
        says("Former generations of workers that may drain at a time after hot restarts; the oldest is hurried."),
    ] = 4
    watchdog: Annotated[
        Duration, Meta(ge=SECOND), says("A worker that gives no sign of life for this long is replaced.")
    ] = 10 * SECOND
    steering: Annotated[
        bool,
        says("Let the kernel give new connections to the worker that has the fewest, instead of to any."),
    ] = True
    cpu_affinity: Annotated[
        Literal["none", "auto"],
        says("`auto`: each worker stays on a CPU of its own, if there are enough; `none`: the kernel decides."),
    ] = "none"
    max_worker_rss: Annotated[
        Annotated[Size, Meta(ge=16 * 1024 * KIB)] | None,
        says("A worker with more resident memory is replaced; its requests are finished."),
    ] = None
    user: Annotated[
        User | None,
        says("The user, or `user:group`, as whom workers run when the proxy is started as root.", otherwise="the same"),
    ] = None
    pid_file: Annotated[File | None, says("A file for the supervisor's pid.", otherwise="none is written")] = None
    log: Annotated[Log, says("The program's own log.")] = Log()


def burst_of(limit: RateLimit) -> int:
    """The bucket's size: as written, or one second's worth, at least 1."""
    return limit.burst if limit.burst is not None else max(1, math.floor(limit.rate))


def worker_count(config: Config) -> int:
    """How many workers to run: as written, or one per CPU that this process may run on."""
    return config.workers if isinstance(config.workers, int) else len(os.sched_getaffinity(0))
