# By chance, in proportion to the weights.
from libc.stdint cimport uint64_t

from .endpoints cimport Endpoints, Policy

cdef class Chance(Policy):
    cdef double* keep       # the alias table: how likely place i stands for endpoint i
    cdef int* other         # ... and which it stands for otherwise
    cdef int count

    cdef build(self, list weights)
    cdef int draw(self, Endpoints among) noexcept
    # an endpoint that can take a request, or FULL after a few draws that met none
    cdef int draw_able(self, Endpoints among, uint64_t excluded) noexcept
    cdef int walk(self, Endpoints among, uint64_t excluded) noexcept
