from collections.abc import Sequence
from typing import NamedTuple

from shardproxy.balancing.cluster import Cluster
from shardproxy.balancing.runs import Runs
from shardproxy.http1.forwarding import TrustedProxies
from shardproxy.proxy.access import AccessLog
from shardproxy.proxy.actions import RouteAction
from shardproxy.proxy.admission import LimitGate
from shardproxy.proxy.hashing import HashPolicy
from shardproxy.proxy.hedging import HedgePolicy
from shardproxy.proxy.pacing import BandwidthPlan
from shardproxy.proxy.pool import EndpointPool
from shardproxy.proxy.queue import Queue
from shardproxy.proxy.retries import RetryPolicy
from shardproxy.routing.conditions import Conditions
from shardproxy.routing.table import Table

class EndpointMetrics(NamedTuple):
    """Slots of one endpoint's counters and of its histogram."""

    requests: int
    failures: int
    unreached: int
    errors: int
    time: int

class ClusterRuntime:
    """A cluster: how an endpoint is chosen, and where its connections come from."""

    name: str
    sources: list[EndpointPool]
    def __init__(
        self,
        name: str,
        balancing: Cluster,
        sources: Sequence[EndpointPool],
        metrics: Sequence[EndpointMetrics],
        queue: Queue | None = None,
        queue_max: int = 0,
        queue_timeout_ns: int = 0,
        runs: Runs | None = None,
    ) -> None: ...

class RouteRuntime:
    """A route: its cluster, its gate (rate limits), and how long the response head may take (ns), what may be
    tunnelled, what is tried again, and who is served first when all is full: class 0, or what a field of the request
    says (`shardproxy.proxy.priority.CLASSES`); what requests are kept together by; what it asks
    for beyond host and path; and its bandwidth limits.
    """

    cluster: ClusterRuntime | None
    def __init__(
        self,
        cluster: ClusterRuntime | None,
        gate: LimitGate | None,
        timeout_ns: int,
        upgrades: Sequence[bytes] = (),
        retry: RetryPolicy | None = None,
        priority: int = 0,
        priority_field: bytes = b"",
        hashing: HashPolicy | None = None,
        conditions: Conditions | None = None,
        action: RouteAction | None = None,
        hedge: HedgePolicy | None = None,
        bandwidth: BandwidthPlan | None = None,
    ) -> None: ...

class ListenerRuntime:
    """A listener: its routes, what it accepts, and how long it waits."""

    name: str
    connections: int
    max_connections: int | None
    waits_when_full: bool
    is_leaving: bool
    routes: list[RouteRuntime]
    def __init__(
        self,
        name: str,
        table: Table,
        routes: Sequence[RouteRuntime],
        *,
        max_head: int,
        max_fields: int,
        max_body: int | None,
        request_head_ns: int,
        request_body_ns: int,
        idle_ns: int,
        stream_idle_ns: int,
        tunnel_idle_ns: int,
        min_body_rate: int,
        normalize_path: bool,
        merge_slashes: bool,
        escaped_slashes: str,
        connections: int,
        max_connections: int | None,
        waits_when_full: bool,
        accepted: int,
        via: bytes,
        scheme: bytes,
        max_connections_per_client: int | None = None,
        proxy_protocol: bool = False,
        trusted: TrustedProxies | None = None,
        forwarded: bool = False,
        client_field: bytes = b"",
        journal: AccessLog | None = None,
    ) -> None: ...
