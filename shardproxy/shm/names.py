"""The names of slots: pure functions, one for each thing that is counted.

A name is written as Prometheus writes a series, `word{label="value"}`, so two different things never share a name,
whatever a cluster or limit is called. One word for one thing: the same here, in `/stats` and in the docs.
"""

from __future__ import annotations

from collections.abc import Sequence

REQUESTS = "requests"  # counter: heads taken in and understood
RESPONSES_1XX = 'responses{class="1xx"}'  # counters: heads sent to clients, by class
RESPONSES_2XX = 'responses{class="2xx"}'
RESPONSES_3XX = 'responses{class="3xx"}'
RESPONSES_4XX = 'responses{class="4xx"}'
RESPONSES_5XX = 'responses{class="5xx"}'
BYTES_IN = "bytes_in"  # counters: bytes from and to clients
BYTES_OUT = "bytes_out"
REQUEST_TIME = "request_time"  # histogram, ns: first byte of the head to last byte of the response
ACCESS_LOG_DROPPED = "access_log_dropped"  # counter: lines left out, since their file did not take them in time
CONTROLLER_FAILURES = "controller_failures"  # counter: what went wrong inside the controller, which then went on
CLIENT_ABORTS = "client_aborts"  # counter: clients that left before their response was complete
STRAY_CALLBACKS = "stray_callbacks"  # counter: events of connections that had been given up, which were ignored


def configuration_held(version: int) -> str:
    """Gauge: what still uses a configuration, in all processes; what only it counts is nobody else's until it is 0."""
    return _series("configuration_held", version=str(version))


def unraisable(process: str) -> str:
    """Counter: exceptions that no code could handle; `process` is the name of its `rows.Kind` in lower case."""
    return _series("unraisable", process=process)


def overload_pressure(resource: str) -> str:
    """Gauge: how full a worker is of something, in percent of what its `overload` counts as full."""
    return _series("overload_pressure", resource=resource)


def overload_action(action: str) -> str:
    """Gauge: 1 for each worker that does something because of overload."""
    return _series("overload_action", action=action)


def endpoint_active(cluster: str, address: str) -> str:
    """Gauge: requests under way at an endpoint."""
    return _series("endpoint_active", cluster=cluster, address=address)


def endpoint_connections(cluster: str, address: str) -> str:
    """Gauge: connections open to an endpoint, idle ones included."""
    return _series("endpoint_connections", cluster=cluster, address=address)


def endpoint_requests(cluster: str, address: str) -> str:
    """Counter: requests sent to an endpoint."""
    return _series("endpoint_requests", cluster=cluster, address=address)


def endpoint_failures(cluster: str, address: str) -> str:
    """Counter: requests to an endpoint that got no response, or a broken one."""
    return _series("endpoint_failures", cluster=cluster, address=address)


def endpoint_unreached(cluster: str, address: str) -> str:
    """Counter: requests for which no connection to an endpoint could be had; not among `endpoint_requests`."""
    return _series("endpoint_unreached", cluster=cluster, address=address)


def endpoint_errors(cluster: str, address: str) -> str:
    """Counter: responses of an endpoint with a status of 500 or more."""
    return _series("endpoint_errors", cluster=cluster, address=address)


def endpoint_time(cluster: str, address: str) -> str:
    """Histogram, ns: request head sent to response complete."""
    return _series("endpoint_time", cluster=cluster, address=address)


def endpoint_decision(cluster: str, address: str) -> str:
    """Decision: what the controller has found out about an endpoint."""
    return _series("endpoint_decision", cluster=cluster, address=address)


def endpoint_latency(cluster: str, address: str) -> str:
    """Word: how long responses of an endpoint take, for `peak_ewma`."""
    return _series("endpoint_latency", cluster=cluster, address=address)


def endpoint_since(cluster: str, address: str) -> str:
    """Word: when an endpoint came, or was last seen to be out, in ns of CLOCK_MONOTONIC; for `slow_start`."""
    return _series("endpoint_since", cluster=cluster, address=address)


def cluster_turn(cluster: str) -> str:
    """Word: the position of a cluster's round robin."""
    return _series("cluster_turn", cluster=cluster)


def subset_turn(cluster: str, labels: Sequence[str]) -> str:
    """Word: the position of the round robin among those endpoints of a cluster that carry `labels`, in any order."""
    return _series("subset_turn", cluster=cluster, labels=" ".join(sorted(labels)))


def endpoint_errors_run(cluster: str, address: str) -> str:
    """Word: failures of an endpoint in a row, over all workers."""
    return _series("endpoint_errors_run", cluster=cluster, address=address)


def endpoint_gateway_run(cluster: str, address: str) -> str:
    """Word: failures of an endpoint in a row that were none of its own: 502, 503, 504, or no answer."""
    return _series("endpoint_gateway_run", cluster=cluster, address=address)


def cluster_panics(cluster: str) -> str:
    """Counter: requests for which health was ignored, since too few endpoints had it."""
    return _series("cluster_panics", cluster=cluster)


def cluster_requests(cluster: str) -> str:
    """Gauge: requests under way in a cluster, for its `max_requests`."""
    return _series("cluster_requests", cluster=cluster)


def cluster_limit(cluster: str) -> str:
    """Word: how many requests at a time a cluster may have now, as its `adaptive` has found out; 0: not yet."""
    return _series("cluster_limit", cluster=cluster)


def cluster_would_refuse(cluster: str) -> str:
    """Counter: requests that a cluster's `adaptive` would have refused, were it not a dry run."""
    return _series("cluster_would_refuse", cluster=cluster)


def cluster_slowness(cluster: str, percentile: int) -> str:
    """Word: within how many ns so many of 100 responses of a cluster were complete lately; 0: not known."""
    return _series("cluster_slowness", cluster=cluster, percentile=str(percentile))


def cluster_connections(cluster: str) -> str:
    """Gauge: connections open to a cluster, for its `max_connections`."""
    return _series("cluster_connections", cluster=cluster)


def cluster_retries_active(cluster: str) -> str:
    """Gauge: retries under way in a cluster, their back-off included, for its `retry_budget`."""
    return _series("cluster_retries_active", cluster=cluster)


def cluster_retries(cluster: str) -> str:
    """Counter: retries that a cluster's budget admitted."""
    return _series("cluster_retries", cluster=cluster)


def cluster_retries_refused(cluster: str) -> str:
    """Counter: retries that a cluster's budget refused."""
    return _series("cluster_retries_refused", cluster=cluster)


def cluster_queue(cluster: str) -> str:
    """Queue: in each worker, who has waited longest for a free place in a cluster."""
    return _series("cluster_queue", cluster=cluster)


def cluster_queue_end(cluster: str) -> str:
    """Queue: in each worker, who would make way for a higher class."""
    return _series("cluster_queue_end", cluster=cluster)


def cluster_queue_asking(cluster: str) -> str:
    """Queue: in each worker, the best class that asks for the place of a lower one."""
    return _series("cluster_queue_asking", cluster=cluster)


def cluster_waiting(cluster: str) -> str:
    """Gauge: requests that wait for a free place in a cluster, for its `queue`."""
    return _series("cluster_waiting", cluster=cluster)


def cluster_queued(cluster: str) -> str:
    """Counter: requests that had to wait for a free place in a cluster."""
    return _series("cluster_queued", cluster=cluster)


def cluster_queue_timeouts(cluster: str) -> str:
    """Counter: requests that waited in vain."""
    return _series("cluster_queue_timeouts", cluster=cluster)


def cluster_queue_refused(cluster: str) -> str:
    """Counter: requests for which the queue was full, or that gave their place in it to one of a higher class."""
    return _series("cluster_queue_refused", cluster=cluster)


def cluster_wait_time(cluster: str) -> str:
    """Histogram, ns: how long those waited that got a place in the end."""
    return _series("cluster_wait_time", cluster=cluster)


def cluster_mirrored(cluster: str) -> str:
    """Counter: copies of requests that were sent to a cluster by mirrors."""
    return _series("cluster_mirrored", cluster=cluster)


def cluster_mirror_dropped(cluster: str) -> str:
    """Counter: copies of requests that a mirror could not send to a cluster."""
    return _series("cluster_mirror_dropped", cluster=cluster)


def listener_connections(listener: str) -> str:
    """Gauge: client connections open on a listener, for its `max_connections`."""
    return _series("listener_connections", listener=listener)


def listener_accepted(listener: str) -> str:
    """Counter: client connections a listener has accepted."""
    return _series("listener_accepted", listener=listener)


def rate_limit(name: str) -> str:
    """Bucket of a rate limit."""
    return _series("rate_limit", name=name)


def rate_limit_keys(name: str, by: str) -> str:
    """Table of a rate limit's buckets. `by` says by what it is kept: kept by something else it has another table."""
    return _series("rate_limit_keys", name=name, by=by)


def rate_limit_override(name: str, by: str, key: str) -> str:
    """Bucket of a key that has a limit of its own; `by` as in `rate_limit_keys`."""
    return _series("rate_limit_override", name=name, by=by, key=key)


def rate_limit_lease(name: str) -> str:
    """Word: tokens of a rate limit with a store that this machine has leased and not used; below 0: that it owes."""
    return _series("rate_limit_lease", name=name)


def rate_limit_leased_until(name: str) -> str:
    """Word: until when that lease counts, in ns of CLOCK_MONOTONIC; later the store has not answered for too long."""
    return _series("rate_limit_leased_until", name=name)


def rate_limit_machines(name: str) -> str:
    """Word: how many machines share a rate limit, as its store has last said."""
    return _series("rate_limit_machines", name=name)


def rate_limit_asked(name: str) -> str:
    """Counter: tokens of a rate limit with a store that requests have asked for."""
    return _series("rate_limit_asked", name=name)


def rate_limit_interval(name: str) -> str:
    """Word: ticks that a rate limit's token takes now, as its `adaptive` has found out; 0: not yet."""
    return _series("rate_limit_interval", name=name)


def rate_limit_delayed(name: str) -> str:
    """Counter: requests that had to wait for a rate limit's tokens."""
    return _series("rate_limit_delayed", name=name)


def rate_limit_evicted(name: str) -> str:
    """Counter: keys of a rate limit that lost their place to another while they owed tokens."""
    return _series("rate_limit_evicted", name=name)


def rate_limit_admitted(name: str) -> str:
    """Counter: requests a rate limit let through."""
    return _series("rate_limit_admitted", name=name)


def rate_limit_refused(name: str) -> str:
    """Counter: requests a rate limit refused."""
    return _series("rate_limit_refused", name=name)


def bandwidth_keys(name: str, direction: str, by: str) -> str:
    """Table of a bandwidth limit's buckets; `by` as in `rate_limit_keys`, and empty where all share one bucket."""
    return _series("bandwidth_keys", name=name, direction=direction, by=by)


def bandwidth_passed(name: str, direction: str) -> str:
    """Counter: bytes that have passed a bandwidth limit; `direction` is `up` or `down`."""
    return _series("bandwidth_passed", name=name, direction=direction)


def bandwidth_held(name: str, direction: str) -> str:
    """Counter: bytes that were held back first, or with `dry_run` would have been."""
    return _series("bandwidth_held", name=name, direction=direction)


def bandwidth_waited(name: str, direction: str) -> str:
    """Counter, ns: for how long flows were held back, all of them together."""
    return _series("bandwidth_waited", name=name, direction=direction)


def bandwidth_waiting(name: str, direction: str) -> str:
    """Gauge: flows that are held back now."""
    return _series("bandwidth_waiting", name=name, direction=direction)


def bandwidth_evicted(name: str, direction: str) -> str:
    """Counter: keys of a bandwidth limit that lost their place to another before their buckets were full."""
    return _series("bandwidth_evicted", name=name, direction=direction)


def fault(kind: str) -> str:
    """Counter: exchanges that ended with a fault of that kind."""
    return _series("faults", kind=kind)


def _series(word: str, **labels: str) -> str:
    return f"{word}{{{','.join(f'{label}={_quoted(value)}' for label, value in labels.items())}}}"


def _quoted(value: str) -> str:
    """As the Prometheus text format quotes a label: backslash, double quote and line feed escaped."""
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'
