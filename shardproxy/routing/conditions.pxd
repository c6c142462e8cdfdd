# What a route asks of a request beyond host and path.
from libc.stdint cimport uint32_t, uint64_t

from shardproxy.http1.forwarding cimport Ip, TrustedProxies
from shardproxy.http1.grammar cimport text
from shardproxy.http1.head cimport Head
from shardproxy.http1.values cimport Value

cdef enum Source:
    IN_HEADER
    IN_QUERY
    IN_COOKIE

cdef enum Test:
    IS_PRESENT
    IS_EXACTLY
    BEGINS_WITH
    ENDS_WITH
    CONTAINS
    MATCHES

# What comes of a test.
cdef enum:
    FAILS = 0
    HOLDS = 1
    UNKNOWN = -1            # it could not be made: then the whole route does not match, whatever is inverted

cdef struct Condition:
    Source source
    Test test
    bint is_inverted
    text name
    Py_ssize_t name_len
    text wanted
    Py_ssize_t wanted_len
    int pattern             # in `patterns`

# A share of all clients, the same ones each time.
cdef struct Share:
    uint32_t millionths     # 0 = no such condition
    uint64_t[2] salt        # so that the shares of different routes do not fall on the same clients
    int by                  # a Source, or -1: the client's address
    text name
    Py_ssize_t name_len

cdef class Conditions:
    cdef Condition* conditions
    cdef int count
    cdef uint32_t methods       # a bit for each Method; 0 = any
    cdef tuple other_methods
    cdef TrustedProxies networks    # or None; used as a set of networks
    cdef Share share
    cdef object path_pattern    # its fullmatch, or None
    cdef tuple patterns         # their fullmatch
    cdef tuple kept             # what the texts point to
    cdef readonly bint needs_client

    cdef bint hold(self, Head head, text path, Py_ssize_t path_len, const Ip* client) noexcept
    cdef bint takes_method(self, Head head) noexcept
    cdef bint names_method(self, Head head) noexcept
    cdef int holds(self, const Condition* condition, Head head) noexcept
    cdef bint is_in_share(self, Head head, const Ip* client) noexcept
