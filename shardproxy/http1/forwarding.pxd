# Who the client is when proxies stand in front of us, and what of their word is believed.
from libc.stdint cimport uint8_t

from .grammar cimport text
from .head cimport Head

cdef enum:
    ADDRESS_TEXT = 45           # the longest that an address can be written

# Of what came in X-Forwarded-* and Forwarded.
cdef enum Belief:
    BELIEF_NONE_ASKED = 0       # no proxies are configured: entries are added to, and nothing is believed
    BELIEF_TRUSTED              # the peer is one of ours: its word goes on
    BELIEF_REPLACED             # the peer is a stranger: its word is dropped

cdef struct Ip:
    uint8_t[16] octets          # network order
    int bits                    # 32 or 128; 0 = not an IP address

cdef struct Network:
    Ip ip
    int prefix

# An address as it stands in a text that others own.
cdef struct Hop:
    text p
    Py_ssize_t n
    Ip ip

cdef class TrustedProxies:
    cdef Network* networks
    cdef int count
    cdef int hops               # 0 = go by networks

    cdef bint includes(self, const Ip* ip) noexcept nogil
    cdef Belief belief(self, const Ip* peer) noexcept nogil
    cdef void find_client(self, Head head, Hop* client) noexcept

cdef bint read_ip(text p, Py_ssize_t n, Ip* ip) noexcept nogil
cdef bint read_hop(text p, Py_ssize_t n, Hop* hop) noexcept nogil
