# In turn: one position for all workers.
from libc.stdint cimport int32_t, int64_t, uint64_t

from .chance cimport Chance
from .endpoints cimport Endpoints, Policy

cdef class RoundRobin(Policy):
    cdef Chance chance      # when the turn would have to go on for too long
    cdef int32_t* sequence  # one round of a smooth weighted round robin; NULL: it would be too long
    cdef uint64_t length    # of the round: the sum of the weights by their greatest common divisor
    cdef uint64_t* ends     # else: where each endpoint's part of 0 to `length` ends
    cdef int count
    cdef int most_steps

    cdef write_sequence(self, list weights)
    cdef int endpoint_at(self, int64_t position) noexcept

cdef class First(Policy):
    pass
