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
    cdef void connect_failed(self, int fault) noexcept
    cdef int why_lost(self, UpstreamState state) noexcept
    cdef void leave_pool(self) noexcept
    cdef void close(self) noexcept
    cdef void abort(self) noexcept
    cdef void fail(self, int fault) noexcept
    cdef bint is_awaited(self) noexcept
    cdef void await_answer(self) noexcept
    cdef void read(self) noexcept
    cdef void read_head(self) noexcept
    cdef void take_response(self, Head head) noexcept
    cdef void take_interim(self, Head head) noexcept
    cdef void read_body(self) noexcept
    cdef void response_end(self) noexcept
