# The rate limits of a route: all must admit, and none is charged when another refuses.
from libc.stdint cimport int64_t

from shardproxy.shm.buckets cimport Bucket
from shardproxy.shm.metrics cimport MetricCells, Metrics

cdef class RateLimit:
    cdef readonly Bucket bucket
    cdef int admitted       # counters
    cdef int refused

cdef class RateLimits:
    cdef tuple limits       # of RateLimit
    cdef Metrics metrics    # keeps what `cells` points to
    cdef MetricCells* cells

    cdef int64_t admit(self, int64_t now_ns) noexcept
    cdef void give_back(self, Py_ssize_t first) noexcept
