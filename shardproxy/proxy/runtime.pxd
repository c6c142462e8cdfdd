# The snapshot of the configuration in the shape that the data path reads. Immutable; worker/build.py builds it.
from libc.stdint cimport int64_t

from shardproxy.balancing.cluster cimport Cluster
from shardproxy.balancing.runs cimport Runs
from shardproxy.http1.forwarding cimport TrustedProxies
from shardproxy.http1.grammar cimport text
from shardproxy.http1.head cimport HeadLimits
from shardproxy.http1.paths cimport PathRules
from shardproxy.routing.conditions cimport Conditions
from shardproxy.routing.table cimport Table
from .ends cimport Action, Gate, Hashing, HedgePlan, Journal, PacePlan, RetryPlan, Source, WaitingRoom

cdef enum:
    UNLIMITED = -1

cdef struct EndpointSlots:
    int requests                # counters
    int failures
    int unreached
    int errors
    int time                    # histogram

cdef class ClusterRuntime:
    cdef readonly str name
    cdef bytes label            # the name, for logs
    cdef Cluster balancing
    cdef readonly list sources  # of Source, by endpoint
    cdef EndpointSlots* slots
    cdef WaitingRoom queue      # or None: who finds no place is refused at once
    cdef int64_t queue_max      # over all workers
    cdef int64_t queue_timeout_ns
    cdef Runs runs              # or None: failures in a row do not matter

cdef class RouteRuntime:
    cdef readonly ClusterRuntime cluster
    cdef Conditions conditions  # beyond host and path, or None
    cdef Gate gate              # its rate limits, or None
    cdef PacePlan bandwidth     # its bandwidth limits, or None
    cdef bint is_guarded        # it has a gate, or bandwidth limits: leave() when an exchange is over
    cdef int64_t timeout_ns     # request sent to response head
    cdef RetryPlan retry        # or None
    cdef HedgePlan hedge        # or None
    cdef int priority           # class in the queue; 0 is served first
    cdef bytes priority_field   # the request's field that says otherwise, in lower case; or empty
    cdef Hashing hashing        # or None
    cdef Action action          # or None: requests go to the cluster as they are
    cdef tuple upgrades         # protocols that may be tunnelled, in lower case

    cdef void leave(self, object exchange) noexcept
    cdef bint allows_upgrade(self, text protocol, Py_ssize_t n) noexcept

cdef class ListenerRuntime:
    cdef readonly str name
    cdef Table table
    cdef readonly list routes
    cdef HeadLimits limits
    cdef int64_t max_body
    cdef int64_t request_head_ns
    cdef int64_t request_body_ns
    cdef int64_t idle_ns
    cdef int64_t stream_idle_ns
    cdef int64_t tunnel_idle_ns
    cdef double ns_per_body_byte    # at the least rate that a request's body may have; 0 = any
    cdef bint normalizes_paths
    cdef PathRules path_rules
    cdef readonly int connections   # gauge
    cdef readonly bint waits_when_full
    cdef int64_t connections_cap
    cdef int64_t per_client_cap
    cdef bint expects_proxy_header
    cdef bint knows_proxies     # any of the next three is in use
    cdef TrustedProxies trusted
    cdef bint forwarded         # tell endpoints of the client in Forwarded
    cdef bytes client_field     # the field that tells endpoints the client's address, or empty
    cdef bytes client_field_lower
    cdef int accepted           # counter
    cdef public bint is_leaving # its connections are to end: each response says so
    cdef Journal journal        # its access log, or None
    cdef bytes via              # a field line, or empty
    cdef bytes scheme
