"""Every word a user can write: frozen structs, with prose per field.

The reader (`build.py`), the JSON Schema, `docs/configuration.md` and `to_plain` all follow from what stands here.
"""

from __future__ import annotations

import os
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from shardproxy.config.access_log import AccessLog as AccessLog
from shardproxy.config.adaptive import Adaptive as Adaptive
from shardproxy.config.bandwidth import BandwidthLimit as BandwidthLimit
from shardproxy.config.clusters import Cluster as Cluster
from shardproxy.config.clusters import Endpoint as Endpoint
from shardproxy.config.clusters import Keepalive as Keepalive
from shardproxy.config.clusters import RetryBudget as RetryBudget
from shardproxy.config.clusters import SlowStart as SlowStart
from shardproxy.config.discovery import Dns as Dns
from shardproxy.config.health import HealthCheck as HealthCheck
from shardproxy.config.health import OutlierDetection as OutlierDetection
from shardproxy.config.limits import LimitCost as LimitCost
from shardproxy.config.limits import LimitKey as LimitKey
from shardproxy.config.limits import LimitOverride as LimitOverride
from shardproxy.config.limits import RateLimit as RateLimit
from shardproxy.config.limits import burst_of as burst_of
from shardproxy.config.matches import Match as Match
from shardproxy.config.overload import Overload
from shardproxy.config.routes import Backoff as Backoff
from shardproxy.config.routes import HashCookie as HashCookie
from shardproxy.config.routes import HashKey as HashKey
from shardproxy.config.routes import Retry as Retry
from shardproxy.config.routes import Route as Route
from shardproxy.config.units import Address
from shardproxy.config.words import (
    KIB,
    MINUTE,
    SECOND,
    Bind,
    Count,
    Duration,
    File,
    ListenerName,
    Name,
    Network,
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


class Listener(Words, frozen=True, kw_only=True):
    """An address that clients connect to, and its routes."""

    later: ClassVar[frozenset[str]] = frozenset({"tls", "filters"})

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
    access_log: Annotated[AccessLog | None, says("A line for every request.", otherwise="none is written")] = None
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
    bandwidth_limits: Annotated[
        tuple[BandwidthLimit, ...], says("How many bytes a second may pass; routes name them.")
    ] = ()
    workers: Annotated[
        Annotated[int, Meta(ge=1, le=512)] | Literal["auto"],
        says("Worker processes; `auto`: one per CPU this process may run on."),
    ] = "auto"
    zone: Annotated[
        Name | None,
        says("Where this proxy stands: endpoints of the same zone come first.", otherwise="zones mean nothing"),
    ] = None
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
    overload: Annotated[
        Overload | None, says("What a worker does when it has too much to do.", otherwise="it goes on")
    ] = None
    log: Annotated[Log, says("The program's own log.")] = Log()


def worker_count(config: Config) -> int:
    """How many workers to run: as written, or one per CPU that this process may run on."""
    return config.workers if isinstance(config.workers, int) else len(os.sched_getaffinity(0))
