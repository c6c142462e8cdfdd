# A connection to an endpoint: the origin's End of one exchange after another.
cimport cython
from libc.stdint cimport int64_t

from shardproxy.http1.head cimport Head
from .connection cimport Connection
from .process cimport Process
from .ends cimport Source
from .exchange cimport Exchange
from .streams cimport Stream

cdef enum UpstreamState:
    CONNECTING = 0
    IDLE                    # in the pool, or about to get there
    AWAIT_HEAD              # a request is under way, no response head yet
    READ_BODY
    CLOSED

@cython.final
cdef class Upstream(Connection):
    cdef Source pool                # None when counted out
    cdef UpstreamState state
    cdef Exchange exchange
    cdef object attempt             # to connect; None when it is over
    cdef int interims               # 1xx responses so far
    cdef bint is_paused
    cdef bint is_request_done
    # reuse
    cdef bint keep_alive
    cdef int64_t requests
    cdef Upstream newer, older      # neighbours in the pool's list of idle ones
    cdef bint is_listed

    cdef void assign(self, Exchange exchange) noexcept
    cpdef int connect_failed(self, int fault) except -1
    cdef int why_lost(self, UpstreamState state) noexcept
    cdef void leave_pool(self) noexcept
    cdef void close(self) noexcept
    cdef void abort(self) noexcept
    cdef int fail(self, int fault) except -1
    cdef bint is_awaited(self) noexcept
    cdef bint is_heard(self) noexcept
    cdef void await_answer(self) noexcept
    cdef int read(self) except -1
    cdef int read_head(self) except -1
    cdef int take_response(self, Head head) except -1
    cdef int take_interim(self, Head head) except -1
    cdef int read_body(self) except -1
    cdef int response_end(self) except -1
