# A second try of a request beside the first, when that one is slow: its plan for a route, and what one exchange has of it.
from libc.stdint cimport int64_t

from shardproxy.shm.words cimport Words
from .ends cimport Hedger, HedgePlan
from .exchange cimport Exchange
from .retries cimport RetryBudget

cdef class HedgePolicy(HedgePlan):
    cdef dict budgets           # by cluster, of those that the route may lead to
    cdef int64_t after_ns       # 0: what the cluster's word says
    cdef Words words            # or None
    cdef dict told              # by cluster, the number of its word
    cdef int64_t timeout_ns     # of the route: both tries together

    cdef int64_t patience_ns(self, str cluster) except -1

cdef class Hedge(Hedger):
    cdef HedgePolicy policy
    cdef Exchange first         # the request's own; None when it is over
    cdef Exchange second        # while there is one
    cdef int64_t since_ns       # when the first try began to go out
    cdef object handle          # of the loop's timer, until it is up
    cdef RetryBudget charged    # whose place is taken, or None

    cdef int ask_at(self, int endpoint) except -1
    cdef void promote(self) noexcept
    cdef void drop_second(self) noexcept
    cdef void stop_waiting(self) noexcept
    cdef bint charge(self) except -1
    cdef void discharge(self) noexcept
    cdef int64_t deadline(self) noexcept
    cdef bint may_ask_another(self) noexcept
    cdef int another(self) noexcept
