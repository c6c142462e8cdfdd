# What each process says about itself: one row of 128 bytes, written by the supervisor, then by its process.
from libc.stdint cimport int32_t, int64_t


ctypedef struct Row:
    int64_t pid            # 0: nobody
    int64_t generation
    int32_t kind
    int32_t state
    int64_t heartbeat_ns   # CLOCK_MONOTONIC
    int64_t requests_before  # what the row's counter of requests stood at when its process came


cdef class Rows:
    cdef object segment
    cdef object part       # keeps what `base` points to
    cdef char* base
    cdef int rows

    cdef Row* at(self, int row) except NULL
