"""The compiled configuration: what a request meets on its way, as C fields."""

from collections import namedtuple

from shardproxy.http1.authority cimport same_authority
from shardproxy.http1.paths cimport SLASHES_KEEP, SLASHES_REJECT, SLASHES_UNESCAPE, PathRules

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdlib cimport calloc, free

EndpointMetrics = namedtuple("EndpointMetrics", "requests failures unreached errors time")

ESCAPED_SLASHES = {"keep": SLASHES_KEEP, "reject": SLASHES_REJECT, "unescape": SLASHES_UNESCAPE}

cdef enum:
    MAX_TARGET = 16384      # bytes; longer targets get 414


cdef class ClusterRuntime:
    def __cinit__(self, str name not None, Cluster balancing not None, sources, metrics, WaitingRoom queue=None,
                  int64_t queue_max=0, int64_t queue_timeout_ns=0, Runs runs=None):
        cdef int i
        self.name, self.label = name, name.encode()
        self.balancing = balancing
        self.sources = list(sources)
        self.queue = queue
        self.queue_max = queue_max
        self.queue_timeout_ns = queue_timeout_ns
        self.runs = runs
        if runs is not None and runs.count != balancing.count:
            raise ValueError("runs and endpoints of a cluster must be as many")
        if not len(self.sources) == len(metrics) == balancing.count:
            raise ValueError("sources, metrics and endpoints of a cluster must be as many")
        self.slots = <EndpointSlots*>calloc(balancing.count, sizeof(EndpointSlots))
        if self.slots == NULL:
            raise MemoryError
        for i in range(balancing.count):
            self.slots[i].requests, self.slots[i].failures = metrics[i].requests, metrics[i].failures
            self.slots[i].unreached, self.slots[i].errors = metrics[i].unreached, metrics[i].errors
            self.slots[i].time = metrics[i].time
        if queue is not None:
            queue.attach(self)

    def __dealloc__(self):
        free(self.slots)


cdef class RouteRuntime:
    def __init__(self, ClusterRuntime cluster, Gate gate, int64_t timeout_ns, upgrades=(), RetryPlan retry=None,
                 int priority=0, bytes priority_field not None=b"", Hashing hashing=None,
                 Conditions conditions=None, Action action=None, HedgePlan hedge=None,
                 PacePlan bandwidth=None):
        self.cluster = cluster
        self.gate = gate
        self.bandwidth = bandwidth
        self.is_guarded = gate is not None or bandwidth is not None
        self.timeout_ns = timeout_ns
        self.retry = retry
        self.hedge = hedge
        self.priority = priority
        self.hashing = hashing
        self.conditions = conditions
        self.action = action
        self.priority_field = priority_field.lower()
        self.upgrades = tuple(upgrades)
        for protocol in self.upgrades:
            if not isinstance(protocol, bytes):
                raise TypeError("the protocols of a route's upgrades must be bytes")

    cdef void leave(self, object exchange) noexcept:
        if self.gate is not None:
            self.gate.leave(exchange)
        if self.bandwidth is not None:
            self.bandwidth.leave(exchange)

    cdef bint allows_upgrade(self, text protocol, Py_ssize_t n) noexcept:
        cdef Py_ssize_t i
        cdef PyObject* allowed
        for i in range(PyTuple_GET_SIZE(self.upgrades)):
            allowed = <PyObject*>PyTuple_GET_ITEM(self.upgrades, i)
            if same_authority(PyBytes_AS_STRING(<bytes>allowed), PyBytes_GET_SIZE(<bytes>allowed), protocol, n):
                return True
        return False


cdef class ListenerRuntime:
    def __init__(self, str name not None, Table table not None, routes, *, int max_head, int max_fields, max_body,
                 int64_t request_head_ns, int64_t request_body_ns, int64_t idle_ns, int64_t stream_idle_ns,
                 int64_t tunnel_idle_ns, int64_t min_body_rate, bint normalize_path, bint merge_slashes,
                 str escaped_slashes not None,
                 int connections, max_connections, bint waits_when_full, int accepted, bytes via not None, bytes scheme not None,
                 max_connections_per_client=None, bint proxy_protocol=False, TrustedProxies trusted=None,
                 bint forwarded=False, bytes client_field not None=b"", Journal journal=None):
        self.name = name
        self.table = table
        self.routes = list(routes)
        self.limits = HeadLimits(max_bytes=max_head, max_fields=max_fields, max_target=min(max_head, MAX_TARGET))
        self.max_body = UNLIMITED if max_body is None else max_body
        self.request_head_ns = request_head_ns
        self.request_body_ns = request_body_ns
        self.idle_ns = idle_ns
        self.stream_idle_ns = stream_idle_ns
        self.tunnel_idle_ns = tunnel_idle_ns
        self.ns_per_body_byte = 1e9 / min_body_rate if min_body_rate else 0
        self.path_rules = PathRules(normalize=normalize_path, merge_slashes=merge_slashes,
                                    escaped_slashes=ESCAPED_SLASHES[escaped_slashes])
        self.normalizes_paths = normalize_path or merge_slashes or self.path_rules.escaped_slashes != SLASHES_KEEP
        self.connections = connections
        self.connections_cap = UNLIMITED if max_connections is None else max_connections
        self.per_client_cap = UNLIMITED if max_connections_per_client is None else max_connections_per_client
        self.expects_proxy_header = proxy_protocol
        self.trusted = trusted or TrustedProxies()
        self.forwarded = forwarded
        self.client_field = client_field
        self.client_field_lower = client_field.lower()
        self.knows_proxies = trusted is not None or forwarded or len(client_field) > 0
        self.waits_when_full = waits_when_full and max_connections is not None
        self.accepted = accepted
        self.via = via
        self.scheme = scheme
        self.journal = journal

    @property
    def max_connections(self):
        return None if self.connections_cap == UNLIMITED else self.connections_cap
