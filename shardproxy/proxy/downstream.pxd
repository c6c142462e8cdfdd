# HTTP/1.1 with a client: the client's End of one exchange after another.
cimport cython
from libc.stdint cimport int64_t

from shardproxy.http1.framing cimport Framing
from shardproxy.http1.head cimport Head
from .client cimport Client

@cython.final
cdef class Downstream(Client):
    cdef bint is_reading            # read() is on the stack
    cdef bint keep_alive
    cdef bint is_http10
    cdef int64_t body_since_ns      # when the request's body began

    cdef int read_all(self) except -1
    cdef int read_proxy_header(self) except -1
    cdef int read_head(self) except -1
    cdef bint skip_blank_lines(self) noexcept
    cdef int begin_exchange(self, Head head, const Framing* framing) except -1
    cdef int read_body(self) except -1
    cdef int64_t body_deadline(self) noexcept
    cdef int read_tunnel(self) except -1
    cdef void hold_input(self) noexcept
    cdef bint is_last(self) noexcept
    cdef bint has_ended(self) noexcept
    cdef bytes connection_line(self)
    cdef void add_connection_line(self) noexcept
    cdef bytes upgrade_lines(self, Head head)
    cdef bytes with_extra(self, bytes lines)
    cdef void await_next(self) noexcept
