"""Rate limits of a route over token buckets that all workers share."""

from shardproxy.shm.buckets cimport bucket_give_back, bucket_take
from shardproxy.shm.metrics cimport count


cdef class RateLimit:
    def __init__(self, Bucket bucket not None, int admitted, int refused):
        self.bucket = bucket
        self.admitted = admitted
        self.refused = refused


cdef class RateLimits:
    def __init__(self, limits, Metrics metrics not None):
        self.limits = tuple(limits)
        self.metrics = metrics
        self.cells = &metrics.cells
        for limit in self.limits:
            if not isinstance(limit, RateLimit):
                raise TypeError("a route's limits must be RateLimit objects")

    # hot
    cdef int64_t admit(self, int64_t now_ns) noexcept:
        """0 when all admit; else the ns until the first that refused would.  Cost: one compare-and-swap a limit."""
        cdef Py_ssize_t i
        cdef int64_t wait
        cdef RateLimit limit
        for i in range(len(self.limits)):
            limit = <RateLimit>self.limits[i]
            wait = bucket_take(limit.bucket.word, now_ns, 1, &limit.bucket.rate)
            if wait:
                count(self.cells, limit.refused, 1)
                self.give_back(i)
                return wait
        for i in range(len(self.limits)):
            count(self.cells, (<RateLimit>self.limits[i]).admitted, 1)
        return 0

    cdef void give_back(self, Py_ssize_t first) noexcept:
        """Undo what the limits before `first` have taken."""
        cdef Py_ssize_t i
        cdef RateLimit limit
        for i in range(first):
            limit = <RateLimit>self.limits[i]
            bucket_give_back(limit.bucket.word, 1, &limit.bucket.rate)

    def take(self, int64_t now_ns):
        return self.admit(now_ns)
