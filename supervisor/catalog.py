"""Every name that a configuration counts or limits under, and the shared memory that has room for them.

All slots are assigned here, before the first fork, so that every process finds the same number under the same name.
"""

from __future__ import annotations

from collections.abc import Iterator

from shardproxy.config.bandwidth import table_places
from shardproxy.config.limits import key_text, places
from shardproxy.config.overload import ACTIONS, RESOURCES
from shardproxy.config.routes import hedged_clusters
from shardproxy.config.schema import BandwidthLimit, Cluster, Config, Listener, RateLimit
from shardproxy.http1.faults import NAMES as FAULTS
from shardproxy.limits.tables import bandwidth_rates
from shardproxy.shm import names
from shardproxy.shm.layout import MAX_ROWS, ROWS_PER_LINE, Capacities
from shardproxy.shm.rows import Kind
from shardproxy.shm.slots import SlotKind, Slots, SlotsFull

# Of the table of client addresses: 256 MiB of shared memory if all are in use.
MOST_ADDRESSES = 1 << 20

Entry = tuple[SlotKind, str]

_PROCESS_WIDE: tuple[Entry, ...] = (
    (SlotKind.COUNTER, names.REQUESTS),
    (SlotKind.COUNTER, names.RESPONSES_1XX),
    (SlotKind.COUNTER, names.RESPONSES_2XX),
    (SlotKind.COUNTER, names.RESPONSES_3XX),
    (SlotKind.COUNTER, names.RESPONSES_4XX),
    (SlotKind.COUNTER, names.RESPONSES_5XX),
    (SlotKind.COUNTER, names.BYTES_IN),
    (SlotKind.COUNTER, names.BYTES_OUT),
    (SlotKind.COUNTER, names.CLIENT_ABORTS),
    (SlotKind.COUNTER, names.STRAY_CALLBACKS),
    (SlotKind.COUNTER, names.ACCESS_LOG_DROPPED),
    (SlotKind.COUNTER, names.CONTROLLER_FAILURES),
    (SlotKind.HISTOGRAM, names.REQUEST_TIME),
)


def entries(config: Config, version: int = 1) -> Iterator[Entry]:
    """Kind and name of everything that is counted, in the order in which slots are given."""
    yield SlotKind.GAUGE, names.configuration_held(version)
    yield from _PROCESS_WIDE
    yield from ((SlotKind.COUNTER, names.fault(kind)) for kind in FAULTS)
    yield from ((SlotKind.COUNTER, names.unraisable(process.name.lower())) for process in Kind)
    if config.overload is not None:
        yield from ((SlotKind.GAUGE, names.overload_pressure(one)) for one in RESOURCES)
        yield from ((SlotKind.GAUGE, names.overload_action(one)) for one in ACTIONS)
    for listener in config.listeners:
        yield from _of_listener(listener)
    for cluster in config.clusters:
        yield from _of_cluster(cluster)
    yield from _of_subsets(config)
    for name, percentile in hedged_clusters(route for listener in config.listeners for route in listener.routes):
        yield SlotKind.WORD, names.cluster_slowness(name, percentile)
    for limit in config.rate_limits:
        yield from _of_rate_limit(limit)
    for bandwidth in config.bandwidth_limits:
        yield from _of_bandwidth_limit(bandwidth)


def capacities(config: Config, workers: int) -> Capacities:
    """Room for `config` and for one that has grown to twice its names by a reload, and never less than the default.

    Rows: the supervisor's, and a controller and `workers` workers for each generation: the one that serves, one that
    comes, and those that drain.
    Raises `ValueError` when that is more than the shared memory can be laid out for.
    """
    least = Capacities()
    wanted = dict.fromkeys(SlotKind, 0)
    for kind, _ in set(entries(config)):
        wanted[kind] += 2
    return Capacities(
        rows=max(least.rows, _rows(workers, config.max_generations)),
        gauges=max(least.gauges, wanted[SlotKind.GAUGE]),
        counters=max(least.counters, wanted[SlotKind.COUNTER]),
        histograms=max(least.histograms, wanted[SlotKind.HISTOGRAM]),
        buckets=max(least.buckets, wanted[SlotKind.BUCKET]),
        addresses=max(least.addresses, _addresses(config)),
        decisions=max(least.decisions, wanted[SlotKind.DECISION]),
        key_tables=max(least.key_tables, wanted[SlotKind.TABLE]),
        keys=max(least.keys, _keys(config)),
        queues=max(least.queues, wanted[SlotKind.QUEUE]),
        words=max(least.words, wanted[SlotKind.WORD]),
    )


def _addresses(config: Config) -> int:
    """Twice as many as there can be at once, so that hardly ever all entries of a set are taken: a power of two."""
    capped = [each for each in config.listeners if each.max_connections_per_client is not None]
    clients = sum(each.max_connections or 0 for each in capped)
    return min(1 << (2 * clients).bit_length(), MOST_ADDRESSES)


def _keys(config: Config) -> int:
    """Places of the largest table of keys."""
    of_rates = [places(limit) for limit in config.rate_limits if limit.key is not None]
    of_bandwidth = [table_places(limit) for limit in config.bandwidth_limits if not limit.per_connection]
    return max([0, *of_rates, *of_bandwidth])


def _rows(workers: int, draining: int) -> int:
    """As many generations as may drain find room, unless there are very many workers; two always do."""
    generous = min(1 + (2 + draining) * (workers + 1), MAX_ROWS)
    return _whole_lines(max(generous, 1 + 2 * (workers + 1)))


def assign(config: Config, slots: Slots, version: int = 1) -> None:
    """Give every name of `config`, which is number `version`, its slot; one that has a slot keeps it.

    Raises `shm.slots.SlotsFull`.
    """
    find = {
        SlotKind.GAUGE: slots.gauge,
        SlotKind.COUNTER: slots.counter,
        SlotKind.HISTOGRAM: slots.histogram,
        SlotKind.BUCKET: slots.bucket,
        SlotKind.DECISION: slots.decision,
        SlotKind.TABLE: slots.table,
        SlotKind.QUEUE: slots.queue,
        SlotKind.WORD: slots.word,
    }
    if _keys(config) > slots.most_keys:
        raise SlotsFull(f"the shared memory has room for {slots.most_keys} keys of a limit, not for {_keys(config)}")
    for kind, name in entries(config, version):
        find[kind](name)
        slots.note(kind, name, version)


def _of_listener(listener: Listener) -> Iterator[Entry]:
    yield SlotKind.GAUGE, names.listener_connections(listener.name)
    yield SlotKind.COUNTER, names.listener_accepted(listener.name)


def _of_cluster(cluster: Cluster) -> Iterator[Entry]:
    yield SlotKind.GAUGE, names.cluster_requests(cluster.name)
    yield SlotKind.GAUGE, names.cluster_connections(cluster.name)
    yield SlotKind.COUNTER, names.cluster_panics(cluster.name)
    yield SlotKind.COUNTER, names.cluster_mirrored(cluster.name)
    yield SlotKind.COUNTER, names.cluster_mirror_dropped(cluster.name)
    if cluster.adaptive is not None:
        yield SlotKind.WORD, names.cluster_limit(cluster.name)
        yield SlotKind.COUNTER, names.cluster_would_refuse(cluster.name)
    yield SlotKind.GAUGE, names.cluster_retries_active(cluster.name)
    yield SlotKind.COUNTER, names.cluster_retries(cluster.name)
    yield SlotKind.COUNTER, names.cluster_retries_refused(cluster.name)
    yield from _of_queue(cluster)
    yield from _of_balancing(cluster)
    for endpoint in cluster.endpoints:
        key = cluster.name, str(endpoint.address)
        yield SlotKind.GAUGE, names.endpoint_active(*key)
        yield SlotKind.GAUGE, names.endpoint_connections(*key)
        yield SlotKind.COUNTER, names.endpoint_requests(*key)
        yield SlotKind.COUNTER, names.endpoint_failures(*key)
        yield SlotKind.COUNTER, names.endpoint_unreached(*key)
        yield SlotKind.COUNTER, names.endpoint_errors(*key)
        yield SlotKind.HISTOGRAM, names.endpoint_time(*key)
        yield SlotKind.DECISION, names.endpoint_decision(*key)
        if cluster.outlier_detection is not None:
            yield SlotKind.WORD, names.endpoint_errors_run(*key)
            yield SlotKind.WORD, names.endpoint_gateway_run(*key)


def _of_balancing(cluster: Cluster) -> Iterator[Entry]:
    """Words that only some policies use."""
    if cluster.balance == "round_robin":
        yield SlotKind.WORD, names.cluster_turn(cluster.name)
    for endpoint in cluster.endpoints:
        key = cluster.name, str(endpoint.address)
        if cluster.balance == "peak_ewma":
            yield SlotKind.WORD, names.endpoint_latency(*key)
        if cluster.slow_start is not None:
            yield SlotKind.WORD, names.endpoint_since(*key)


def _of_subsets(config: Config) -> Iterator[Entry]:
    """A subset shares all that its cluster counts, but takes turns of its own."""
    in_turn = {cluster.name for cluster in config.clusters if cluster.balance == "round_robin"}
    for listener in config.listeners:
        for route in listener.routes:
            if route.subset and route.cluster in in_turn:
                yield SlotKind.WORD, names.subset_turn(route.cluster, route.subset)


def _of_queue(cluster: Cluster) -> Iterator[Entry]:
    if cluster.queue is not None:
        yield SlotKind.QUEUE, names.cluster_queue(cluster.name)
        yield SlotKind.QUEUE, names.cluster_queue_end(cluster.name)
        yield SlotKind.QUEUE, names.cluster_queue_asking(cluster.name)
        yield SlotKind.GAUGE, names.cluster_waiting(cluster.name)
        yield SlotKind.COUNTER, names.cluster_queued(cluster.name)
        yield SlotKind.COUNTER, names.cluster_queue_timeouts(cluster.name)
        yield SlotKind.COUNTER, names.cluster_queue_refused(cluster.name)
        yield SlotKind.HISTOGRAM, names.cluster_wait_time(cluster.name)


def _of_rate_limit(limit: RateLimit) -> Iterator[Entry]:
    if limit.key is None:
        yield SlotKind.BUCKET, names.rate_limit(limit.name)
    else:
        yield SlotKind.TABLE, names.rate_limit_keys(limit.name, key_text(limit.key))
        yield SlotKind.COUNTER, names.rate_limit_evicted(limit.name)
    for override in limit.overrides:
        yield SlotKind.BUCKET, names.rate_limit_override(limit.name, key_text(limit.key), override.key)
    if limit.store is not None:
        yield SlotKind.WORD, names.rate_limit_lease(limit.name)
        yield SlotKind.WORD, names.rate_limit_leased_until(limit.name)
        yield SlotKind.WORD, names.rate_limit_machines(limit.name)
        yield SlotKind.COUNTER, names.rate_limit_asked(limit.name)
    if limit.adaptive is not None:
        yield SlotKind.WORD, names.rate_limit_interval(limit.name)
    yield SlotKind.COUNTER, names.rate_limit_delayed(limit.name)
    yield SlotKind.COUNTER, names.rate_limit_admitted(limit.name)
    yield SlotKind.COUNTER, names.rate_limit_refused(limit.name)


def _of_bandwidth_limit(limit: BandwidthLimit) -> Iterator[Entry]:
    for direction, _ in bandwidth_rates(limit):
        key = limit.name, direction
        if not limit.per_connection:
            yield SlotKind.TABLE, names.bandwidth_keys(*key, key_text(limit.key))
        yield SlotKind.COUNTER, names.bandwidth_passed(*key)
        yield SlotKind.COUNTER, names.bandwidth_held(*key)
        yield SlotKind.COUNTER, names.bandwidth_waited(*key)
        yield SlotKind.COUNTER, names.bandwidth_evicted(*key)
        yield SlotKind.GAUGE, names.bandwidth_waiting(*key)


def _whole_lines(rows: int) -> int:
    return -(-rows // ROWS_PER_LINE) * ROWS_PER_LINE
