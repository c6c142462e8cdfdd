# Who is served first when a cluster is full.
from shardproxy.http1.head cimport Head
from .runtime cimport RouteRuntime

cdef enum:
    LOWEST = 2                  # classes are 0, 1 and 2

cdef int rank_of(RouteRuntime route, Head head) noexcept
