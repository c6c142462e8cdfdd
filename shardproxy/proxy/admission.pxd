# The rate limits before a route.
from libc.stdint cimport int64_t

from shardproxy.http1.forwarding cimport Hop
from shardproxy.limits.rates cimport RateLimits
from .ends cimport Gate
from .exchange cimport Exchange

cdef class LimitGate(Gate):
    cdef RateLimits limits

    cdef void find_client(self, Exchange exchange, Hop* client) noexcept
    cdef int delay(self, Exchange exchange, int64_t wait_ns) except -1

# Who the request's client is, as the listener's trusted proxies tell it.
cdef void read_client(Exchange exchange, Hop* client) noexcept
