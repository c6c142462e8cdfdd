# What only a debug build has (SP_DEBUG=1): asserts, and counts of what is alive.  In other builds they cost nothing.
from libc.stdint cimport int64_t

cdef extern from *:
    """
    #ifndef SP_DEBUG
    #define SP_DEBUG 0
    #endif
    """
    const bint SP_DEBUG

cdef enum Kind:
    STREAMS = 0         # connected sockets
    CLIENTS             # connections from clients
    UPSTREAMS           # connections to endpoints, begun or open
    CONNECTORS          # attempts to connect
    EXCHANGES
    RETRIES
    HEDGES
    WAITERS             # in pending queues
    HEADS               # message heads that are in use


cdef enum:
    KINDS = 9

cdef int64_t[KINDS] alive

# Ends the process: the assertion `what` does not hold.
cdef void violated(const char* what) noexcept nogil


cdef inline void must(bint holds, const char* what) noexcept nogil:
    """An assertion: `what` is the sentence that has to be true."""
    if SP_DEBUG and not holds:
        violated(what)


cdef inline void born(Kind kind) noexcept nogil:
    if SP_DEBUG:
        alive[<int>kind] += 1


cdef inline void gone(Kind kind) noexcept nogil:
    if SP_DEBUG:
        alive[<int>kind] -= 1
        must(alive[<int>kind] >= 0, "nothing ends more often than it began")
