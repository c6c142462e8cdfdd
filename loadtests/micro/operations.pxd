# The operations that are counted. An Operation holds what its operation works on; once() does it, without Python.
from libc.stdint cimport int64_t, uint64_t

from shardproxy.balancing.cluster cimport Cluster
from shardproxy.http1.framing cimport Framing
from shardproxy.http1.head cimport Head
from shardproxy.http1.splice cimport RequestAdditions, Scratch
from shardproxy.routing.table cimport Table
from shardproxy.shm.buckets cimport Bucket
from shardproxy.shm.keyed cimport KeyedBuckets

cdef class Operation:
    cdef void once(self) noexcept
    cdef void repeat(self, long times) noexcept     # by its name callgrind knows what to count

cdef class ScanHead(Operation):
    cdef Head head
    cdef bytes source
    cdef bint is_request
    cdef int scan(self) noexcept

cdef class SpliceHead(ScanHead):
    cdef Scratch out
    cdef Framing framing
    cdef RequestAdditions additions

cdef class ReadChunked(Operation):
    cdef bytes body
    cdef bint is_done

cdef enum:
    PATH_BYTES = 64         # a cache line: how the C library compares bytes depends on where they lie

cdef class FindRoute(Operation):
    cdef Table table
    cdef char* paths        # a line each; asked for in turn
    cdef Py_ssize_t* sizes
    cdef Py_ssize_t count, turn
    cdef int found

cdef class Pick(Operation):
    cdef Cluster cluster
    cdef int chosen

cdef class PickHashed(Pick):
    cdef uint64_t key

cdef class TakeToken(Operation):
    cdef Bucket bucket
    cdef int64_t now_ns
    cdef int64_t wait_ns

cdef class TakeKeyedToken(Operation):
    cdef KeyedBuckets buckets
    cdef list keys          # in turn
    cdef Py_ssize_t turn
    cdef int64_t now_ns
    cdef int64_t wait_ns
