# Asking a route's rate limits about a request.
from libc.stdint cimport int64_t

from shardproxy.http1.head cimport Head
from shardproxy.limits.rates cimport RateLimits, Verdict
from .runtime cimport ListenerRuntime

cdef void ask_limits(RateLimits limits, Head request, bytes peer, ListenerRuntime listener, int64_t now_ns,
                     Verdict* verdict) noexcept
cdef void charge_limits(RateLimits limits, Head request, bytes peer, ListenerRuntime listener, int64_t now_ns,
                        int64_t response_bytes) noexcept
