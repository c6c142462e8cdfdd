# Requests of one key to one endpoint, whatever endpoints come and go.
from libc.stdint cimport int32_t, int64_t, uint64_t

from .endpoints cimport Endpoints, Policy
from .loads cimport LeastConnection

cdef class Hashed(Policy):
    cdef LeastConnection fewest     # when the hash leads to nobody
    cdef int64_t factor             # percent of an even share that one may have; 0 = any
    cdef int64_t weights            # their sum

    # the endpoint of a key at the n-th attempt; every process and machine finds the same one
    cdef int at(self, uint64_t key, int attempt) noexcept
    cdef bint is_within_bound(self, Endpoints among, int index, int64_t weights) noexcept
    cdef int64_t weights_in_use(self, Endpoints among) noexcept

cdef struct Point:
    uint64_t hash
    int32_t endpoint

cdef class Ring(Hashed):
    cdef Point* points
    cdef int size

cdef class Maglev(Hashed):
    cdef int32_t* table

    cdef void fill(self, uint64_t* places, const uint64_t* skips, uint64_t* wanted, const uint64_t* weight, int count,
                   uint64_t heaviest) noexcept

cdef uint64_t[2] KNOWN_KEY   # not a secret: everybody has to agree on it

cdef uint64_t hash_of(bytes text) noexcept
