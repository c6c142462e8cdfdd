# A cluster as balancing sees it: numbers per endpoint, and the shared counts behind them.
from libc.stdint cimport int64_t, uint64_t

from shardproxy.balancing.levels cimport Levels
from shardproxy.shm.decisions cimport Decision
from shardproxy.shm.gauges cimport GaugeCells, Gauges
from shardproxy.shm.metrics cimport MetricCells

cdef enum Policy:
    LEAST_CONNECTION
    ROUND_ROBIN
    RANDOM

cdef enum:
    NO_CAP = -1
    FULL = -1               # what choose() answers when nobody may take one more request
    UNHEALTHY = -2          # ... and when no endpoint is healthy

cdef struct EndpointState:
    int active              # gauge: requests under way, over all processes
    int weight
    int64_t cap             # of `active`; NO_CAP
    int decision            # its slot
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
    cdef object health      # keeps what the next two point to
    cdef const Decision* decisions  # NULL: nobody looks after the health of these endpoints
    cdef MetricCells* metrics
    cdef int panics         # counter
    cdef int panic_threshold
    cdef int decision_slots
    cdef int64_t seen       # the generation of decisions that `healthy` is of; -1: none yet
    cdef int healthy
    cdef Levels levels      # None: all endpoints are of one
    cdef const Decision* heeded     # within one choice: the decisions, or NULL to ignore them

    cdef watch(self, health)

    # a pick reserves: whoever got an index >= 0 calls release(index) once
    cdef int choose(self) noexcept
    cdef int choose_except(self, uint64_t excluded) noexcept
    cdef void release(self, int index) noexcept
    cdef bint has_room(self) noexcept

    cdef int choose_endpoint(self, uint64_t excluded) noexcept
    cdef int choose_by_level(self, uint64_t excluded) noexcept
    cdef int choose_within(self, uint64_t excluded) noexcept
    cdef void enter(self, int level) noexcept
    cdef bint has_place(self) noexcept
    cdef int count_healthy(self) noexcept
    cdef int look_at_health(self) noexcept
    cdef bint reserve(self, int index) noexcept
    cdef int pick(self, uint64_t excluded) noexcept
    cdef int least_connection(self, uint64_t excluded) noexcept
    cdef int round_robin(self, uint64_t excluded) noexcept
    cdef int weighted_random(self, uint64_t excluded) noexcept
    cdef bint is_eligible(self, int index, uint64_t excluded) noexcept
    cdef bint is_full(self, EndpointState* endpoint) noexcept
    cdef uint64_t next_random(self) noexcept
