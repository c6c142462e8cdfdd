# The one with the least to do.
from libc.stdint cimport uint64_t

from .chance cimport Chance
from .endpoints cimport Endpoints, Policy

cdef class LeastConnection(Policy):
    cdef Chance chance

    cdef int scan(self, Endpoints among, uint64_t excluded) noexcept
    cdef int better_of_two(self, Endpoints among, uint64_t excluded) noexcept
    cdef bint is_less(self, Endpoints among, int one, int other) noexcept
