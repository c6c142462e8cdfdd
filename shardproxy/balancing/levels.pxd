# Levels: the endpoints of a cluster by priority and zone, and how many percent of the requests each level gets.
from libc.stdint cimport int64_t, uint64_t

from shardproxy.shm.decisions cimport Decision

cdef struct Level:
    int total
    int healthy
    int health              # percent: healthy / total, overprovisioned, at most 100
    int load                # percent of the requests; over all levels 100
    bint panics             # health is ignored within it

cdef class Levels:
    cdef readonly int count
    cdef int endpoints
    cdef int* level_of      # by endpoint
    cdef int* decision_of   # by endpoint: its slot
    cdef Level* levels
    cdef int overprovisioning   # percent
    cdef int panic_threshold    # percent
    cdef bint looked
    cdef int64_t seen       # the generation of decisions that the levels' numbers are of

    cdef void look(self, const Decision* decisions, int64_t generation) noexcept
    cdef int draw(self, uint64_t chance) noexcept
    cdef bint has_anybody(self) noexcept

    cdef void count_healthy(self, const Decision* decisions) noexcept
    cdef void share_out(self) noexcept
    cdef int total_health(self) noexcept
    cdef void spread_by_health(self, int total) noexcept
    cdef bint see_panic(self, int total) noexcept
    cdef void spread_by_size(self) noexcept
