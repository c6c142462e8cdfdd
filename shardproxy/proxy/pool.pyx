"""Keep-alive towards an endpoint: last in, first out; bounded in number, in age, and in requests per connection."""

from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE

from shardproxy.http1.faults cimport Fault
from shardproxy.shm.gauges cimport gauge_add, gauge_reserve, gauge_total
from .attempts import Attempt
from .exchange cimport Exchange
from .runtime cimport UNLIMITED
from .upstream cimport CONNECTING, IDLE


cdef class EndpointPool(Source):
    def __init__(self, Process process not None, address, *, int64_t connect_timeout_ns, int64_t idle_ns, int max_idle,
                 max_requests, int connections, int cluster_connections, max_connections, endpoint_max_connections=None,
                 int proxy_version=0, connector=Attempt):
        self.process, self.connector = process, connector
        self.address, self.label = address, str(address).encode()
        self.connect_timeout_ns = connect_timeout_ns
        self.idle_ns = idle_ns
        self.proxy_version = proxy_version
        self.max_idle = 0 if proxy_version else max_idle    # a connection that names its client is no other's
        self.max_requests = UNLIMITED if max_requests is None else max_requests
        self.connections = connections
        self.cluster_connections = cluster_connections
        self.connections_cap = UNLIMITED if max_connections is None else max_connections
        self.endpoint_cap = UNLIMITED if endpoint_max_connections is None else endpoint_max_connections
        self.siblings = [self]

    def __repr__(self):
        return f"<EndpointPool {self.address} idle={self.idle}>"

    # hot
    cdef End take(self, object exchange, int* fault):
        """The idle connection that was used last, ready for the exchange; without one, a new one begins."""
        cdef Upstream upstream = self.newest
        if upstream is None:
            return self.connect(exchange, fault)
        self.unlist(upstream)
        upstream.assign(<Exchange>exchange)
        return upstream

    cdef End connect(self, object exchange, int* fault):
        """Begin a connection; the exchange hears of it by origin_ready() or origin_failed()."""
        cdef Upstream upstream = None
        if not self.count_in():
            fault[0] = Fault.OVERFLOW
            return None
        try:
            upstream = Upstream(self.process, self)
            upstream.attempt = self.connector(self.process.watcher, self.address, upstream)
        except BaseException as error:
            if upstream is None:
                self.count_out()
            else:
                upstream.connect_failed(Fault.NO_RESOURCES)
            if not isinstance(error, (OSError, MemoryError)):
                raise
            fault[0] = Fault.NO_RESOURCES
            return None
        upstream.exchange = <Exchange>exchange
        upstream.set_deadline(self.process.wheel.now_ns + self.connect_timeout_ns)
        return upstream

    cdef bytes greeting(self, object exchange):
        return (<Exchange>exchange).client.announce(self.proxy_version) if self.proxy_version else None

    cdef bint count_in(self) noexcept:
        """Count the connection, unless the endpoint or the cluster has as many as allowed, over all workers."""
        if not self.count_in_here():
            return False
        if self.connections_cap == UNLIMITED:
            gauge_add(self.process.gauge_cells, self.cluster_connections, 1)
        else:
            while not gauge_reserve(self.process.gauge_cells, self.cluster_connections, self.connections_cap):
                if not self.close_an_idle_one():
                    gauge_add(self.process.gauge_cells, self.connections, -1)
                    return False
        return True

    cdef bint count_in_here(self) noexcept:
        if self.endpoint_cap == UNLIMITED:
            gauge_add(self.process.gauge_cells, self.connections, 1)
            return True
        while not gauge_reserve(self.process.gauge_cells, self.connections, self.endpoint_cap):
            if self.oldest is None:
                return False
            self.oldest.close()
        return True

    cdef void count_out(self) noexcept:
        gauge_add(self.process.gauge_cells, self.connections, -1)
        gauge_add(self.process.gauge_cells, self.cluster_connections, -1)

    cdef bint is_full(self) noexcept:
        """The cluster has as many connections as allowed."""
        return (self.connections_cap != UNLIMITED
                and gauge_total(self.process.gauge_cells, self.cluster_connections) >= self.connections_cap)

    cdef bint can_connect(self) noexcept:
        """A request to some endpoint of the cluster would find a connection, or could have a new one."""
        return not self.is_full() or self.one_with_idle() is not NULL

    cdef bint close_an_idle_one(self) noexcept:
        """A connection of this worker that nobody uses makes way.  Cost: a step for each endpoint, when the cluster has as many connections as allowed."""
        cdef PyObject* sibling = self.one_with_idle()
        if sibling is NULL:
            return False
        (<EndpointPool>sibling).oldest.close()
        return True

    cdef PyObject* one_with_idle(self) noexcept:
        """The first of the cluster's pools in this worker that keeps a connection; borrowed."""
        cdef Py_ssize_t i
        for i in range(PyList_GET_SIZE(self.siblings)):
            if (<EndpointPool>PyList_GET_ITEM(self.siblings, i)).oldest is not None:
                return <PyObject*>PyList_GET_ITEM(self.siblings, i)
        return NULL

    # hot
    cdef void give_back(self, End end) noexcept:
        cdef Upstream upstream = <Upstream>end
        if (self.idle >= self.max_idle or self.process.is_draining
                or (self.max_requests != UNLIMITED and upstream.requests >= self.max_requests)):
            upstream.close()
            return
        upstream.is_listed = True
        upstream.older = self.newest
        if self.newest is None:
            self.oldest = upstream
        else:
            self.newest.newer = upstream
        self.newest = upstream
        self.idle += 1
        upstream.set_deadline(self.process.wheel.now_ns + self.idle_ns)

    # hot
    cdef void unlist(self, Upstream upstream) noexcept:
        if not upstream.is_listed:
            return
        if upstream.newer is None:
            self.newest = upstream.older
        else:
            upstream.newer.older = upstream.older
        if upstream.older is None:
            self.oldest = upstream.newer
        else:
            upstream.older.newer = upstream.newer
        upstream.newer = upstream.older = None
        upstream.is_listed = False
        self.idle -= 1

    cdef void forget(self, End end) noexcept:
        self.unlist(<Upstream>end)
        self.count_out()
        if self.room is not None and self.connections_cap != UNLIMITED:
            self.room.connection_ended()

    def share_cap(self, list siblings not None):
        """The cluster's cap is that of all these pools together, this one among them."""
        self.siblings = siblings

    def retire(self):
        """No connection is kept any more: the configuration that has this pool is gone."""
        self.max_idle = 0
        self.close_idle()

    def close_idle(self):
        cdef Upstream upstream
        while self.newest is not None:
            upstream = self.newest
            self.unlist(upstream)
            upstream.close()
