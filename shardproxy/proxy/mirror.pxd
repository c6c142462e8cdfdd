# Sending a copy of a route's requests to another cluster, whose answers nobody waits for.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from shardproxy.http1.framing cimport Framing
from shardproxy.http1.head cimport Head
from shardproxy.shm.metrics cimport MetricCells, Metrics
from .ends cimport Copy, End
from .exchange cimport Exchange
from .runtime cimport RouteRuntime

cdef class Mirror:
    cdef RouteRuntime route     # to the other cluster
    cdef uint32_t millionths    # of the requests
    cdef Py_ssize_t max_body
    cdef uint64_t random
    cdef readonly int under_way # in this worker
    cdef Metrics metrics
    cdef int sent, dropped      # counters

    cdef void begin(self, Exchange exchange) noexcept
    cdef int record(self, Exchange exchange) except -1
    cdef bint draws(self) noexcept
    cdef void drop(self) noexcept

cdef class MirrorCopy(Copy):
    cdef Mirror mirror
    cdef Exchange original      # until it is complete, or too long
    cdef bytearray body

    cdef int send(self, Exchange original) except -1

cdef class Nobody(End):
    cdef Mirror mirror
