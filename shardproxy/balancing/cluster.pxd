# A cluster as balancing sees it: numbers per endpoint, and the shared counts behind them.
from libc.stdint cimport int64_t, uint64_t

from shardproxy.shm.gauges cimport GaugeCells, Gauges

cdef enum Policy:
    LEAST_CONNECTION
    ROUND_ROBIN
    RANDOM

cdef enum:
    NO_CAP = -1
    FULL = -1               # what choose() answers when nobody may take one more request

cdef struct EndpointState:
    int active              # gauge: requests under way, over all processes
    int weight
    int64_t cap             # of `active`; NO_CAP
    int64_t current         # smooth weighted round robin's account

cdef class Cluster:
    cdef EndpointState* endpoints
    cdef readonly int count
    cdef Policy policy
    cdef int requests       # gauge of the whole cluster, counted when it has a cap
    cdef int64_t requests_cap
    cdef Gauges gauges      # keeps what `cells` points to
    cdef GaugeCells* cells
    cdef uint64_t random

    # a pick reserves: whoever got an index >= 0 calls release(index) once
    cdef int choose(self) noexcept
    cdef int choose_except(self, uint64_t excluded) noexcept
    cdef void release(self, int index) noexcept

    cdef int choose_endpoint(self, uint64_t excluded) noexcept
    cdef bint reserve(self, int index) noexcept
    cdef int pick(self, uint64_t excluded) noexcept
    cdef int least_connection(self, uint64_t excluded) noexcept
    cdef int round_robin(self, uint64_t excluded) noexcept
    cdef int weighted_random(self, uint64_t excluded) noexcept
    cdef bint is_full(self, EndpointState* endpoint) noexcept
    cdef uint64_t next_random(self) noexcept
