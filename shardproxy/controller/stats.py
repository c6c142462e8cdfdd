"""What `/stats` says: its shape, and what each number means. Imports nothing heavy, since readers decode with it too.

All numbers are sums over the workers, those that have ended included. Seconds and milliseconds are written out as such.
"""

from __future__ import annotations

import msgspec


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """How long something took, since the proxy was started; 0 when there was nothing yet. To 6.25 %."""

    count: int
    mean_ms: float
    p50_ms: float
    p99_ms: float


class ProcessStats(msgspec.Struct, frozen=True, kw_only=True):
    """One process, as its row of the shared memory has it."""

    pid: int
    row: int
    state: str
    """`starting`, `ready` or `draining`."""
    generation: int
    heartbeat_age_s: float
    unraisable: int = 0
    """Exceptions that no code could handle, counted in its row, those of processes that had the row before included."""


class LastOperation(msgspec.Struct, frozen=True, kw_only=True):
    """What the last reload, restart or scaling came to, whether a signal or a command asked for it."""

    is_done: bool
    text: str
    age_s: float


class OverloadStats(msgspec.Struct, frozen=True, kw_only=True):
    """How full one worker is, and what it does about it."""

    pressures: dict[str, int]
    """In percent of what counts as full; 0 for what is not measured."""
    actions: tuple[str, ...]
    """That are going on."""


class WorkerStats(ProcessStats, frozen=True, kw_only=True):
    """One worker: what it alone does and has done."""

    rss_bytes: int
    """Resident memory."""
    cpu_s: float
    """CPU time, user and system."""

    requests: int
    """Request heads taken in."""
    active: int
    """Requests under way at endpoints."""
    connections: int
    """Client connections open."""
    upstream_connections: int
    """Connections open to endpoints, idle ones included."""
    overload: OverloadStats | None = None
    """None without `overload`."""


class ListenerStats(msgspec.Struct, frozen=True, kw_only=True):
    """One listener: client connections open, and accepted so far."""

    bind: str
    connections: int
    accepted: int


class HealthStats(msgspec.Struct, frozen=True, kw_only=True):
    """What the controller thinks of an endpoint."""

    state: str
    """`healthy`, `unhealthy` (its checks fail), `ejected` (its requests went too badly) or `unchecked`."""
    reason: str
    """Of the last change; empty when there was none."""
    since_s: float | None
    """How long it has been so; none when there was no change."""


class EndpointStats(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint of a cluster."""

    health: HealthStats
    weight: int
    active: int
    """Requests under way."""
    active_by_worker: dict[int, int]
    """The same by the worker's pid."""
    connections: int
    """Open, idle ones included."""
    requests: int
    """Sent so far."""
    failures: int
    """Of those: got no response, or a broken one."""
    time: Times
    """Request head sent to response complete."""


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    """Who waits for a free place in a cluster."""

    waiting: int
    """Now."""
    queued: int
    """Had to wait so far."""
    timeouts: int
    """Waited in vain."""
    refused: int
    """The queue was full, or their place went to one of a higher class."""
    time: Times
    """How long those waited that got a place."""


class LevelStats(msgspec.Struct, frozen=True, kw_only=True):
    """One level of a cluster: endpoints of one priority, and of the proxy's own zone or of others."""

    endpoints: int
    healthy: int
    share: int
    """Percent of the cluster's requests that it gets now."""
    in_panic: bool
    """Health is ignored within it."""


class ClusterStats(msgspec.Struct, frozen=True, kw_only=True):
    """One cluster: requests under way, connections open, and its endpoints by address."""

    balance: str
    healthy: int
    """Endpoints that may get requests."""
    panics: int
    """Requests for which health was ignored, since too few endpoints were healthy."""
    active: int
    connections: int
    adaptive_limit: int | None = None
    """Requests at a time, as `adaptive` has found out; none without it."""
    adaptive_would_refuse: int | None = None
    """What it would have refused; only of a dry run."""
    mirrored: int = 0
    """Copies of requests that mirrors have sent here."""
    mirror_dropped: int = 0
    """Copies that could not be sent: too large, or too many under way."""
    retries: int
    """Made so far."""
    retries_active: int
    """Under way, their back-off included."""
    retries_refused: int
    """Not made, because the retry budget was used up."""
    endpoints: dict[str, EndpointStats]
    queue: QueueStats | None = None
    """None without `queue`."""
    levels: tuple[LevelStats, ...] = ()
    """In the order in which they are used; empty if all endpoints are of one."""


class KeyStats(msgspec.Struct, frozen=True, kw_only=True):
    """The table of a limit that is kept by key."""

    capacity: int
    """Keys for which there are places."""
    occupied: int
    """Places of keys that owe tokens; all others have full buckets."""
    evictions: int
    """Keys that lost their place, and what they owed, to others."""


class StoreStats(msgspec.Struct, frozen=True, kw_only=True):
    """The store of a limit that several machines share."""

    address: str
    state: str
    """`shared` while it answers; else what holds meanwhile: `local`, `open` or `closed`."""
    leased: int
    """Tokens at hand; below 0: owed."""
    machines: int
    """That share the limit, this one included, as the store has last said."""


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """A rate and a burst that would have refused nothing of what came in the last ten minutes, and a tenth more."""

    rate: float
    burst: int


class RateLimitStats(msgspec.Struct, frozen=True, kw_only=True):
    """One rate limit: what it is (requests a second, and at once), what it has left, what it did."""

    rate: float
    """With `adaptive`: the present one."""
    burst: int
    tokens: float | None
    """Left in its bucket; none where each key has its own."""
    admitted: int
    """By all limits of their routes."""
    refused: int
    """Or, with `dry_run`, what would have been."""
    delayed: int
    """Of the admitted: had to wait for their tokens."""
    dry_run: bool
    keys: KeyStats | None
    """None where all requests share one bucket."""
    suggestion: Suggestion | None = None
    """Only with `dry_run`, without `key`, and once 10 s are known."""
    store: StoreStats | None = None
    """None where the limit is this machine's own; `tokens` are those of all machines otherwise."""


class FlowStats(msgspec.Struct, frozen=True, kw_only=True):
    """One direction of a bandwidth limit."""

    rate: int
    """Bytes a second."""
    burst: int
    passed_bytes: int
    held_bytes: int
    """Of the passed: had to wait; or, with `dry_run`, would have had to."""
    waited_s: float
    """For how long flows were held back, all of them together."""
    waiting: int
    """Flows that are held back now."""
    keys: KeyStats | None
    """None where it is not kept by key."""


class BandwidthStats(msgspec.Struct, frozen=True, kw_only=True):
    """One bandwidth limit; a direction that it does not limit is none."""

    down: FlowStats | None
    up: FlowStats | None
    dry_run: bool


class SourceStats(msgspec.Struct, frozen=True, kw_only=True):
    """Where a cluster's endpoints come from."""

    source: str
    """A file, or a name in DNS."""
    is_good: bool
    problem: str
    """Why the endpoints stay as they are; empty when the source is right."""
    answer_age_s: float | None
    """Since it was right the last time; none before."""


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer. Listeners, clusters and rate limits stand under their names."""

    uptime_s: float
    """Since the supervisor was started."""
    version: int
    """Of the configuration: 1 at the start, one more with each reload and restart."""
    last_operation: LastOperation | None
    supervisor: ProcessStats | None
    controller: ProcessStats | None
    workers: tuple[WorkerStats, ...]
    requests: int
    """Request heads taken in."""
    active: int
    """Requests under way at endpoints."""
    responses: dict[str, int]
    """Response heads sent to clients, by class: `1xx` to `5xx`."""
    request_time: Times
    """First byte of the head to last byte of the response."""
    bytes_in: int
    """From clients."""
    bytes_out: int
    """To clients."""
    client_aborts: int
    stray_callbacks: int
    """Clients that left before their response was complete."""
    access_log_dropped: int
    """Lines of access logs that were left out, since their file did not take them in time."""
    controller_failures: int = 0
    """What went wrong inside the controller, by a fault of its own or for want of descriptors, ports or memory."""
    faults: dict[str, int]
    """Exchanges that ended with a fault, by kind."""
    unraisable: int = 0
    """Exceptions that no code could handle, in all processes, those that have ended included."""
    listeners: dict[str, ListenerStats]
    clusters: dict[str, ClusterStats]
    rate_limits: dict[str, RateLimitStats]
    bandwidth_limits: dict[str, BandwidthStats] = {}
    sources: dict[str, SourceStats] = {}
    """Of endpoints, by cluster."""
