# One direction of a bandwidth limit: bytes as tokens, in one bucket for all, for each key, or for each connection.
#
# A flow takes the bytes that go next before they are there, and is told how long to wait for them: so many flows share
# a bucket in turn, each at its own time, and the sum of them never runs ahead of the rate by more than the burst.
from libc.stdint cimport int64_t, uint64_t

from shardproxy.http1.forwarding cimport Ip
from shardproxy.http1.head cimport Head
from shardproxy.limits.keys cimport Key
from shardproxy.shm.keyed cimport KeyedBuckets
from shardproxy.shm.metrics cimport MetricCells

cdef extern from *:
    """
    #define SP_PATIENCE_NS INT64_C(10000000000) /* signed, which an enum of this size would not be */
    """
    const int64_t PATIENCE_NS "SP_PATIENCE_NS"  # how far ahead bytes may be taken

cdef enum:
    STEP_NS = 25_000_000            # so much time's worth of bytes is taken at a time: half a tick of the timers
    LEAST_PIECE = 512               # bytes, whatever the rate

# Where one limit counts the bytes of one flow.
cdef struct Account:
    int64_t* full_at            # of a connection: when its bucket is full again, in ns of CLOCK_MONOTONIC; or NULL
    uint64_t hashed             # whose in the table, otherwise

# A bucket that is one connection's own.
cdef class Allowance:
    cdef int64_t full_at

cdef class Bandwidth:
    cdef readonly str name
    cdef KeyedBuckets keyed     # its tokens are KiB; None: each connection has its own
    cdef readonly Key key       # None: one bucket for all
    cdef double ns_per_byte
    cdef int64_t burst_ns
    cdef readonly int64_t piece # bytes to take at a time
    cdef readonly bint is_dry   # counts what it would hold back
    cdef int passed, held, waited, evicted      # counters: bytes, bytes, ns, keys
    cdef int waiting                            # gauge: flows that are held back now

    # false: the limit is not for this request, which does not have its key
    cdef bint find(self, Head head, const Ip* client, Account* account) noexcept
    cdef int64_t reserve(self, const Account* account, int64_t now_ns, int64_t size, MetricCells* cells) noexcept
    cdef int64_t reserve_own(self, const Account* account, int64_t now_ns, int64_t size) noexcept
    cdef void give_back(self, const Account* account, int64_t now_ns, int64_t size) noexcept
