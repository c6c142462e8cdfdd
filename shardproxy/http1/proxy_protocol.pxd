# The PROXY protocol: what a proxy says first on a connection, about the client that it connects for.
# HAProxy's doc/proxy-protocol.txt, versions 1 (text) and 2 (binary).
from libc.stdint cimport uint8_t, uint16_t

from .grammar cimport text

cdef enum:
    MAX_V1_BYTES = 107          # section 2.1
    V2_HEAD_BYTES = 16
    MAX_V2_REST = 2048          # addresses and TLVs; senders use less than 1 KiB

cdef struct ProxyHeader:
    Py_ssize_t size             # bytes that it takes
    bint is_local               # it names no client: the connection's own ends hold
    int family                  # 4, 6; 0 = none
    uint8_t[16] source          # network order
    uint8_t[16] destination
    uint16_t source_port
    uint16_t destination_port

# OK, NEED_MORE, or BAD_PROXY_HEADER as soon as a byte is wrong.  Only after OK does `header` mean anything.
cdef int scan_proxy_header(text p, Py_ssize_t n, ProxyHeader* header) noexcept nogil
cdef bytes source_text(const ProxyHeader* header)
cdef bytes destination_text(const ProxyHeader* header)
# The header of version 1, otherwise 2, for a new connection; ends that are no IP addresses with ports make one that names
# nobody.
cdef bytes proxy_header(int version, bytes source, int source_port, bytes destination, int destination_port)
