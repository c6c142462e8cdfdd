# A cluster as balancing sees it: its endpoints, the policy that picks among them, and what bounds it as a whole.
from libc.stdint cimport int64_t, uint64_t

from shardproxy.balancing.levels cimport Levels
from shardproxy.shm.metrics cimport MetricCells, Metrics
from .endpoints cimport FULL, NO_CAP, UNHEALTHY, Endpoints, Policy

cdef class Cluster(Endpoints):
    cdef Policy policy
    cdef readonly bint wants_times  # observe() is to be called after each response
    cdef int64_t requests_cap
    cdef const int64_t* adaptive    # word: a lower cap that the controller has found out, 0 = not yet; NULL = none
    cdef int64_t adaptive_start     # until then
    cdef object adaptive_words      # keeps what `adaptive` points to
    cdef Metrics adaptive_metrics   # of a dry run: whose counter `would_refuse` counts, and nothing is refused; or None
    cdef int would_refuse
    cdef object health      # keeps what `decisions` and the next point to
    cdef MetricCells* metrics
    cdef int panics         # counter
    cdef int panic_threshold
    cdef int decision_slots
    cdef int64_t seen       # the generation of decisions that `healthy` is of; -1: none yet
    cdef int healthy
    cdef Levels levels      # None: all endpoints are of one

    cdef watch(self, health)

    # a pick reserves: whoever got an index >= 0 calls release(index) once
    cdef int choose(self) noexcept
    cdef int choose_except(self, uint64_t excluded) noexcept
    cdef int choose_hashed(self, uint64_t key, uint64_t excluded) noexcept
    cdef void release(self, int index) noexcept
    cdef bint has_room(self) noexcept
    cdef void observe(self, int index, int64_t took_ns, bint failed) noexcept
    cdef bint is_short_for(self, int rank) noexcept
    cdef int64_t allowed(self) noexcept

    cdef int choose_endpoint(self, uint64_t excluded) noexcept
    cdef int choose_by_level(self, uint64_t excluded) noexcept
    cdef int choose_within(self, uint64_t excluded) noexcept
    cdef void enter(self, int level) noexcept
    cdef bint has_place(self) noexcept
    cdef int count_healthy(self) noexcept
    cdef void see_all_out(self) noexcept
    cdef int look_at_health(self) noexcept
    cdef bint reserve(self, int index) noexcept
