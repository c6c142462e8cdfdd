"""Asking a route's rate limits: pass, 429, or wait a little.

To the limits a request's client is the one that the listener's trusted proxies vouch for.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from shardproxy.http1.faults cimport Fault
from shardproxy.http1.forwarding cimport read_hop
from shardproxy.limits.rates cimport Verdict
from shardproxy.shm.clock cimport now_ns
from .boundary cimport cancel_timer, report

cdef enum:
    NS_PER_S = 1_000_000_000
    NS_PER_MS = 1_000_000


cdef class LimitGate(Gate):
    def __init__(self, RateLimits limits not None):
        self.limits = limits

    # hot
    cdef bint admit(self, object exchange) except -1:
        """Cost: that of the limits, and of reading an address if one is kept by it."""
        cdef Exchange asking = <Exchange>exchange
        cdef Verdict verdict
        cdef Hop client
        self.find_client(asking, &client)
        self.limits.admit(asking.request, &client.ip, asking.started_ns, &verdict)
        if verdict.refused_by >= 0:
            asking.set_reply_lines(self.limits.field_lines(&verdict))  # warm: only for who is refused
            asking.refuse(Fault.RATE_LIMITED, verdict.wait_ns // NS_PER_S + 1)
            return False
        if verdict.wait_ns:
            self.delay(asking, verdict.wait_ns)
        return verdict.wait_ns == 0

    # hot
    cdef void find_client(self, Exchange exchange, Hop* client) noexcept:
        client.ip.bits = 0
        if self.limits.needs_client:
            read_client(exchange, client)

    cdef int delay(self, Exchange exchange, int64_t wait_ns) except -1:
        """A place in the bucket is the request's at a later time; how many wait is bounded by rate times delay."""
        cdef Delay delay = Delay.__new__(Delay)
        delay.exchange = exchange
        delay.timer = exchange.process.watcher.call_later((wait_ns // NS_PER_MS + 1) * NS_PER_MS, delay.over)
        exchange.delay(delay)
        return 0

    # boundary
    cdef void leave(self, object exchange) noexcept:
        cdef Exchange leaving = <Exchange>exchange
        cdef Hop client
        if leaving.delayed is not None:
            (<Delay>leaving.delayed).stop()
        if leaving.response_bytes and self.limits.counts_bytes:
            self.find_client(leaving, &client)
            try:
                self.limits.charge_bytes(leaving.request, &client.ip, now_ns(), leaving.response_bytes)
            except BaseException as error:
                report(error, self)


# hot
cdef void read_client(Exchange exchange, Hop* client) noexcept:
    read_hop(PyBytes_AS_STRING(exchange.peer), PyBytes_GET_SIZE(exchange.peer), client)
    if exchange.listener.knows_proxies:
        exchange.listener.trusted.find_client(exchange.request, client)


cdef class Delay:
    cdef Exchange exchange      # None when it is over
    cdef object timer

    cdef void stop(self) noexcept:
        self.exchange = None
        cancel_timer(self.timer)

    # boundary
    def over(self):
        cdef Exchange exchange = self.exchange
        self.exchange = None
        if exchange is None:
            return
        try:
            exchange.admitted()
        except BaseException as error:
            exchange.crash(report(error, self))
