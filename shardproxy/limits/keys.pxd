# What a limit is kept by: the client's address, a field, a cookie, a query parameter, a segment of the path, or several
# of them together.
from libc.stdint cimport uint64_t

from shardproxy.http1.forwarding cimport Ip
from shardproxy.http1.grammar cimport text
from shardproxy.http1.head cimport Head
from shardproxy.http1.values cimport Value

cdef enum:
    MOST_PARTS = 4

cdef enum KeySource:
    KEY_CLIENT
    KEY_HEADER
    KEY_COOKIE
    KEY_QUERY
    KEY_PATH

cdef struct KeyPart:
    KeySource source
    text name               # of KEY_PATH: what stands before the segment
    Py_ssize_t name_len
    int ipv4, ipv6          # bits of a client's address that count

cdef class Key:
    cdef KeyPart[MOST_PARTS] parts
    cdef int count
    cdef tuple names        # keeps what the parts point to
    cdef readonly bint needs_client

    # false: the request does not have all parts, so the limit is not for it
    cdef bint read(self, Head head, const Ip* client, const uint64_t* secret, uint64_t* hashed) noexcept nogil
    cdef Value value(self, const KeyPart* part, Head head, const Ip* client, unsigned char* room) noexcept nogil
