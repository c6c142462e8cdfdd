"""All numbers of the proxy, read from the shared memory in one go.

Each cell is right by itself; two cells may be a moment apart, since nobody stops for the reader.
"""

from __future__ import annotations

import time
from typing import Any

from shardproxy.balancing.levels import Levels
from shardproxy.config.clusters import in_use
from shardproxy.config.levels import levels_of
from shardproxy.config.overload import ACTIONS, RESOURCES
from shardproxy.config.schema import Cluster, Config, Endpoint, Listener, RateLimit, burst_of
from shardproxy.controller.bandwidth import BandwidthReading
from shardproxy.controller.reasons import Reason
from shardproxy.controller.resources import Resources, age_s
from shardproxy.controller.stats import (
    ClusterStats,
    EndpointStats,
    HealthStats,
    KeyStats,
    LastOperation,
    LevelStats,
    ListenerStats,
    OverloadStats,
    ProcessStats,
    QueueStats,
    RateLimitStats,
    Stats,
    StoreStats,
    Times,
    WorkerStats,
)
from shardproxy.http1.faults import FAULTS
from shardproxy.limits.tables import bucket_of, table_of
from shardproxy.shm import names
from shardproxy.shm.buckets import Bucket
from shardproxy.shm.decisions import CHECKED, EJECTED, FAILED_CHECK, Decisions
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.metrics import Metrics, quantile
from shardproxy.shm.rows import Kind, Rows, State
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.shm.words import Words

SUPERVISOR_ROW = 0
RESPONSES = {
    "1xx": names.RESPONSES_1XX,
    "2xx": names.RESPONSES_2XX,
    "3xx": names.RESPONSES_3XX,
    "4xx": names.RESPONSES_4XX,
    "5xx": names.RESPONSES_5XX,
}
# The two that are no faults: nothing went wrong, and not complete yet.
FAULT_KINDS = tuple(facts.name for facts in FAULTS if facts.name not in ("ok", "need_more"))


def read(
    segment: Segment,
    slots: Slots,
    config: Config,
    version: int = 1,
    resources: Resources | None = None,
    last_operation: LastOperation | None = None,
) -> Stats:
    """Everything now. The names of `config` must all have their slots."""
    return Reading(segment, slots, config, resources or Resources()).stats(version, last_operation)


class Reading:
    """Reads the cells; one method for each part of the answer."""

    def __init__(self, segment: Segment, slots: Slots, config: Config, resources: Resources) -> None:
        self._segment = segment
        self._slots = slots
        self._resources = resources
        self._config = config
        self._now_ns = time.monotonic_ns()
        self._rows = Rows(segment)
        self._gauges = Gauges(segment, SUPERVISOR_ROW)
        self._metrics = Metrics(segment, SUPERVISOR_ROW)
        self._decisions = Decisions(segment)
        self._bandwidth = BandwidthReading(segment, slots, self._metrics, self._gauges, self._now_ns)
        used = [row for row in range(segment.rows_used) if self._rows.state(row) is not State.GONE]
        self._workers = [row for row in used if self._rows.kind(row) is Kind.WORKER]
        self._processes = {self._rows.kind(row): row for row in used}
        self._active = [slots.gauge(names.endpoint_active(*key)) for key in _endpoints(config)]

    def stats(self, version: int, last_operation: LastOperation | None) -> Stats:
        config, count = self._config, self._count
        return Stats(
            uptime_s=self._uptime_s(),
            version=version,
            last_operation=last_operation,
            supervisor=self._process(Kind.SUPERVISOR),
            controller=self._process(Kind.CONTROLLER),
            workers=tuple(self._worker(row) for row in self._workers),
            requests=count(names.REQUESTS),
            active=sum(self._gauges.total(slot) for slot in self._active),
            responses={word: count(name) for word, name in RESPONSES.items()},
            request_time=self._times(names.REQUEST_TIME),
            bytes_in=count(names.BYTES_IN),
            bytes_out=count(names.BYTES_OUT),
            client_aborts=count(names.CLIENT_ABORTS),
            stray_callbacks=count(names.STRAY_CALLBACKS),
            access_log_dropped=count(names.ACCESS_LOG_DROPPED),
            controller_failures=count(names.CONTROLLER_FAILURES),
            faults={kind: count(names.fault(kind)) for kind in FAULT_KINDS},
            unraisable=sum(count(names.unraisable(process.name.lower())) for process in Kind),
            listeners={listener.name: self._listener(listener) for listener in config.listeners},
            clusters={cluster.name: self._cluster(cluster) for cluster in config.clusters},
            rate_limits={limit.name: self._rate_limit(limit) for limit in config.rate_limits},
            bandwidth_limits={limit.name: self._bandwidth.limit(limit) for limit in config.bandwidth_limits},
        )

    def _uptime_s(self) -> float:
        return round(age_s(self._rows.pid(SUPERVISOR_ROW)), 3)

    def _process(self, kind: Kind) -> ProcessStats | None:
        row = self._processes.get(kind)
        return None if row is None else ProcessStats(**self._identity(row))

    def _identity(self, row: int) -> dict[str, Any]:
        age_ns = max(0, self._now_ns - self._rows.heartbeat(row))
        unraisable = self._slots.counter(names.unraisable(self._rows.kind(row).name.lower()))
        return {
            "pid": self._rows.pid(row),
            "row": row,
            "state": self._rows.state(row).name.lower(),
            "generation": self._rows.generation(row),
            "heartbeat_age_s": round(age_ns / 1e9, 3),
            "unraisable": self._metrics.counter_row(unraisable, row),
        }

    def _worker(self, row: int) -> WorkerStats:
        config = self._config
        clients = [names.listener_connections(listener.name) for listener in config.listeners]
        upstream = [names.endpoint_connections(*key) for key in _endpoints(config)]
        usage = self._resources.of(self._rows.pid(row))
        return WorkerStats(
            **self._identity(row),
            rss_bytes=usage.rss_bytes,
            cpu_s=usage.cpu_s,
            requests=self._requests(row),
            active=sum(self._gauges.row_value(slot, row) for slot in self._active),
            connections=sum(self._gauges.row_value(self._slots.gauge(name), row) for name in clients),
            upstream_connections=sum(self._gauges.row_value(self._slots.gauge(name), row) for name in upstream),
            overload=None if config.overload is None else self._overload(row),
        )

    def _requests(self, row: int) -> int:
        """Of the present process: the row goes on from what its former ones have counted."""
        counted = self._metrics.counter_row(self._slots.counter(names.REQUESTS), row)
        return max(0, counted - self._rows.requests_before(row))

    def _overload(self, row: int) -> OverloadStats:
        def value(name: str) -> int:
            return self._gauges.row_value(self._slots.gauge(name), row)

        return OverloadStats(
            pressures={name: value(names.overload_pressure(name)) for name in RESOURCES},
            actions=tuple(name for name in ACTIONS if value(names.overload_action(name))),
        )

    def _listener(self, listener: Listener) -> ListenerStats:
        return ListenerStats(
            bind=str(listener.bind),
            connections=self._gauge(names.listener_connections(listener.name)),
            accepted=self._count(names.listener_accepted(listener.name)),
        )

    def _cluster(self, cluster: Cluster) -> ClusterStats:
        endpoints = {str(each.address): self._endpoint(cluster.name, each) for each in cluster.endpoints}
        # The workers keep the cluster's own gauges only where a limit needs them.
        return ClusterStats(
            balance=cluster.balance,
            healthy=sum(each.health.state in ("healthy", "unchecked") for each in endpoints.values()),
            panics=self._count(names.cluster_panics(cluster.name)),
            active=sum(each.active for each in endpoints.values()),
            connections=sum(each.connections for each in endpoints.values()),
            adaptive_limit=self._adaptive_limit(cluster),
            adaptive_would_refuse=self._would_refuse(cluster),
            mirrored=self._count(names.cluster_mirrored(cluster.name)),
            mirror_dropped=self._count(names.cluster_mirror_dropped(cluster.name)),
            retries=self._count(names.cluster_retries(cluster.name)),
            retries_active=self._gauge(names.cluster_retries_active(cluster.name)),
            retries_refused=self._count(names.cluster_retries_refused(cluster.name)),
            queue=self._queue(cluster),
            endpoints=endpoints,
            levels=self._levels(cluster),
        )

    def _levels(self, cluster: Cluster) -> tuple[LevelStats, ...]:
        level_of = levels_of(cluster, self._config.zone)
        if not any(level_of) or (cluster.health_check is None and cluster.outlier_detection is None):
            return ()
        addresses = [str(endpoint.address) for endpoint in in_use(cluster)]
        levels = Levels(
            level_of,
            [self._slots.decision(names.endpoint_decision(cluster.name, address)) for address in addresses],
            overprovisioning=cluster.overprovisioning,
            panic_threshold=cluster.panic_threshold,
        )
        return tuple(
            LevelStats(endpoints=endpoints, healthy=healthy, share=share, in_panic=in_panic)
            for endpoints, healthy, share, in_panic in levels.shares(self._decisions)
        )

    def _queue(self, cluster: Cluster) -> QueueStats | None:
        if cluster.queue is None:
            return None
        return QueueStats(
            waiting=self._gauge(names.cluster_waiting(cluster.name)),
            queued=self._count(names.cluster_queued(cluster.name)),
            timeouts=self._count(names.cluster_queue_timeouts(cluster.name)),
            refused=self._count(names.cluster_queue_refused(cluster.name)),
            time=self._times(names.cluster_wait_time(cluster.name)),
        )

    def _adaptive_limit(self, cluster: Cluster) -> int | None:
        if cluster.adaptive is None:
            return None
        found = Words(self._segment).load(self._slots.word(names.cluster_limit(cluster.name)))
        return found or cluster.adaptive.start

    def _would_refuse(self, cluster: Cluster) -> int | None:
        if cluster.adaptive is None or not cluster.adaptive.dry_run:
            return None
        return self._count(names.cluster_would_refuse(cluster.name))

    def _endpoint(self, cluster: str, endpoint: Endpoint) -> EndpointStats:
        key = cluster, str(endpoint.address)
        active = self._slots.gauge(names.endpoint_active(*key))
        return EndpointStats(
            health=self._health(self._slots.decision(names.endpoint_decision(*key))),
            weight=endpoint.weight,
            active=self._gauges.total(active),
            active_by_worker={self._rows.pid(row): self._gauges.row_value(active, row) for row in self._workers},
            connections=self._gauge(names.endpoint_connections(*key)),
            requests=self._count(names.endpoint_requests(*key)),
            failures=self._count(names.endpoint_failures(*key)),
            time=self._times(names.endpoint_time(*key)),
        )

    def _health(self, slot: int) -> HealthStats:
        flags, since_ns = self._decisions.flags(slot), self._decisions.since_ns(slot)
        return HealthStats(
            state=_state(flags),
            reason=str(Reason.decode(self._decisions.reason(slot))),
            since_s=round(max(0, self._now_ns - since_ns) / 1e9, 3) if since_ns else None,
        )

    def _rate_limit(self, limit: RateLimit) -> RateLimitStats:
        bucket = None if limit.key is not None else self._bucket(limit)
        return RateLimitStats(
            rate=limit.rate if bucket is None or limit.adaptive is None else round(bucket.rate_per_s, 3),
            burst=burst_of(limit) if bucket is None else bucket.burst,
            tokens=None if bucket is None else round(bucket.tokens(self._now_ns), 3),
            admitted=self._count(names.rate_limit_admitted(limit.name)),
            refused=self._count(names.rate_limit_refused(limit.name)),
            delayed=self._count(names.rate_limit_delayed(limit.name)),
            dry_run=limit.dry_run,
            keys=None if limit.key is None else self._keys(limit),
            store=self._store(limit),
        )

    def _store(self, limit: RateLimit) -> StoreStats | None:
        if limit.store is None:
            return None
        words, name = Words(self._segment), limit.name
        is_shared = self._now_ns < words.load(self._slots.word(names.rate_limit_leased_until(name)))
        return StoreStats(
            address=str(limit.store),
            state="shared" if is_shared else limit.on_store_failure,
            leased=words.load(self._slots.word(names.rate_limit_lease(name))),
            machines=words.load(self._slots.word(names.rate_limit_machines(name))),
        )

    def _bucket(self, limit: RateLimit) -> Bucket:
        bucket = bucket_of(limit, self._segment, self._slots)
        if limit.adaptive is not None:
            bucket.follow(Words(self._segment), self._slots.word(names.rate_limit_interval(limit.name)))
        return bucket

    def _keys(self, limit: RateLimit) -> KeyStats:
        table = table_of(limit, self._segment, self._slots)
        return KeyStats(
            capacity=table.keys,
            occupied=table.sweep(self._now_ns),
            evictions=self._count(names.rate_limit_evicted(limit.name)),
        )

    def _times(self, name: str) -> Times:
        slot = self._slots.histogram(name)
        counts = self._metrics.histogram_total(slot)
        count = sum(counts)
        return Times(
            count=count,
            mean_ms=_ms(self._metrics.histogram_sum_ns(slot) / count if count else 0.0),
            p50_ms=_ms(quantile(counts, 0.5)),
            p99_ms=_ms(quantile(counts, 0.99)),
        )

    def _gauge(self, name: str) -> int:
        return self._gauges.total(self._slots.gauge(name))

    def _count(self, name: str) -> int:
        return self._metrics.counter_total(self._slots.counter(name))


def _endpoints(config: Config) -> list[tuple[str, str]]:
    """Cluster and address of every endpoint."""
    return [(cluster.name, str(each.address)) for cluster in config.clusters for each in cluster.endpoints]


def _state(flags: int) -> str:
    """The word for a decision: the worst that is said."""
    if flags & FAILED_CHECK:
        return "unhealthy"
    if flags & EJECTED:
        return "ejected"
    return "healthy" if flags & CHECKED else "unchecked"


def _ms(ns: float) -> float:
    return round(ns / 1e6, 3)
