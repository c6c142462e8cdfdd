# The one whose answers come soonest.
from libc.stdint cimport int64_t, uint32_t

from .endpoints cimport Endpoints
from .loads cimport LeastConnection

cdef class PeakEwma(LeastConnection):
    cdef double decay_ms

    cdef double cost(self, Endpoints among, int index, uint32_t now_ms) noexcept
    cdef double weight_left(self, int64_t word, uint32_t now_ms) noexcept
