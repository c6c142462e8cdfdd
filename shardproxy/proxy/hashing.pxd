# What a route keeps requests together by.
from libc.stdint cimport uint64_t

from .ends cimport Hashing
from .exchange cimport Exchange

cdef class HashPolicy(Hashing):
    cdef tuple sources          # of limits.keys.Key, one part each, or Cookie
    cdef bint needs_client

    cdef bint find_key(self, Exchange exchange) except -1

cdef class Cookie:
    cdef bytes name
    cdef bytes attributes       # what follows the value in Set-Cookie

    cdef uint64_t give(self, Exchange exchange) except? 0
