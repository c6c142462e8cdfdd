# Tokens of a limit that several machines share, as far as this machine has leased them: one shared word that workers
# count down and the controller fills up. Another says until when that holds, so whatever goes wrong (the store stops,
# the network is cut, the controller dies), nobody has to notice and switch: the time is simply over.
from libc.stdint cimport int64_t

from shardproxy.shm.metrics cimport MetricCells
from shardproxy.shm.words cimport Words

cdef enum LeaseAnswer:
    LEASE_TAKEN
    LEASE_EMPTY             # or nothing is admitted without the store
    LEASE_OPEN              # without the store everything is admitted
    LEASE_LOCAL             # without the store the machine's own bucket is asked

cdef class Lease:
    cdef Words words        # keeps what the others point to
    cdef int64_t* left      # tokens; below 0: owed
    cdef int64_t* until     # CLOCK_MONOTONIC ns
    cdef int asked          # counter of tokens
    cdef LeaseAnswer on_failure
    cdef int64_t retry_ns   # what a refused client is told: more may be here by then

    cdef LeaseAnswer take(self, int64_t now_ns, int64_t cost, MetricCells* cells) noexcept nogil
    cdef LeaseAnswer charge(self, int64_t now_ns, int64_t cost) noexcept nogil
