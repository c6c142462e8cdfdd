# Which faults and statuses a route tries again, how long it waits before, and how many retries a cluster has at a time.
from libc.stdint cimport int64_t

from shardproxy.http1.head cimport Head
from shardproxy.shm.gauges cimport Gauges
from shardproxy.shm.metrics cimport Metrics
from .ends cimport Retrier, RetryPlan

cdef enum:
    STATUSES = 600

cdef class RetryBudget:
    cdef Gauges gauges
    cdef Metrics metrics
    cdef readonly int percent
    cdef readonly int min_concurrency
    cdef int* active            # gauges: requests under way at each endpoint of the cluster
    cdef int active_count
    cdef int64_t max_retries    # absolute; UNLIMITED
    cdef int retries            # gauge: retries under way, back-off included
    cdef int granted            # counters
    cdef int refused

    cdef int64_t cap(self) noexcept
    cdef bint reserve(self) noexcept
    cdef void give_back(self) noexcept

cdef class RetryPolicy(RetryPlan):
    cdef RetryBudget budget     # of the route's only cluster; or None
    cdef dict budgets           # by cluster, where it has several
    cdef int attempts           # after the first
    cdef int64_t timeout_ns     # of the route: all tries together
    cdef int64_t per_try_ns     # 0 = only the route's
    cdef int64_t base_ns
    cdef int64_t max_ns
    cdef Py_ssize_t max_body
    cdef bint[64] faults        # by Fault: does it try again?
    cdef bint[600] statuses
    cdef tuple fields          # names in lower case: a response that has one is not the answer; or None

    cdef bint wants_another(self, Head head) noexcept
    cdef int64_t pause_ns(self, int number, double draw) noexcept

cdef class Retries(Retrier):
    cdef RetryPolicy policy
    cdef RetryBudget budget
    cdef object exchange        # None when it is over
    cdef object handle          # of the loop's timer: of the back-off, then of the connection attempt
    cdef int64_t deadline_ns    # of all tries; 0 = the request is not complete yet
    cdef bytearray kept         # the body as far as it was sent
    cdef bint is_last           # there will be no further try
    cdef bint is_charged        # a place of the budget is taken

    cdef bint try_later(self) except -1
    cdef int rewind(self) except -1
    cdef void discharge(self) noexcept
    cdef void stop_waiting(self) noexcept
