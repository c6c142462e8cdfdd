# A client's connection: the client's End of one exchange after another.
cimport cython
from libc.stdint cimport int64_t

from shardproxy.http1.framing cimport Framing
from shardproxy.http1.head cimport Head
from .connection cimport Connection
from .process cimport Process
from .exchange cimport Exchange
from .runtime cimport ListenerRuntime

cdef enum DownstreamState:
    READ_HEAD = 0           # idle, or a head is arriving
    READ_BODY               # an exchange is under way, its request is arriving
    AWAIT_END               # an exchange is under way, its request is complete
    TUNNEL                  # 101 was answered: whatever comes goes on as it is
    LINGER                  # we have said all; what still comes is thrown away
    CLOSED

@cython.final
cdef class Downstream(Connection):
    cdef ListenerRuntime listener
    cdef DownstreamState state
    cdef Exchange exchange
    cdef bytes peer                 # address, as X-Forwarded-For says it
    # reading
    cdef int blank_lines
    cdef bint is_reading            # read() is on the stack
    cdef bint is_held               # paused by the exchange
    cdef bint is_full               # paused because enough has been pipelined
    cdef bint saw_eof
    cdef int64_t linger_left
    # writing
    cdef bint keep_alive
    cdef bint is_http10
    cdef bint is_blocked            # the transport holds more than it should
    cdef bint is_counted            # in the listener's gauge

    cdef bint admit(self) noexcept
    cdef void read(self) noexcept
    cdef void read_head(self) noexcept
    cdef bint skip_blank_lines(self) noexcept
    cdef void begin_exchange(self, Head head, const Framing* framing) noexcept
    cdef void read_body(self) noexcept
    cdef void read_tunnel(self) noexcept
    cdef void hold_input(self) noexcept
    cdef void refuse(self, int fault) noexcept
    cdef bytes connection_line(self)
    cdef bytes upgrade_lines(self, Head head)
    cdef void await_next(self) noexcept
    cdef void linger(self) noexcept
    cdef void close(self) noexcept
    cdef void abort(self) noexcept
    cdef void set_pauses(self, bint is_held, bint is_full) noexcept
