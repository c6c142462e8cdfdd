# A client's connection, whatever is spoken on it.
from libc.stdint cimport int64_t

from shardproxy.http1.proxy_protocol cimport ProxyHeader
from .connection cimport Connection
from .exchange cimport Exchange
from .process cimport Process
from .runtime cimport ListenerRuntime
from .streams cimport Stream

cdef enum ClientState:
    NEW = 0                 # not counted in yet: nothing is read
    READ_PROXY_HEADER       # the connection must begin with one
    READ_HEAD               # idle, or a head is arriving
    READ_BODY               # an exchange is under way, its request is arriving
    AWAIT_END               # an exchange is under way, its request is complete
    TUNNEL                  # 101 was answered: whatever comes goes on as it is
    LINGER                  # we have said all; what still comes is thrown away
    CLOSED

cdef class Client(Connection):
    cdef ListenerRuntime listener
    cdef ClientState state
    cdef Exchange exchange
    cdef int64_t quiet_since_ns     # when the last exchange ended, or the connection began
    cdef ProxyHeader announced      # what a PROXY protocol header said; family 0 = there was none
    cdef bytes peer                 # address, as X-Forwarded-For says it
    cdef int blank_lines            # that came instead of a request
    cdef bint is_held               # paused by the exchange
    cdef bint is_full               # paused because enough has been pipelined
    cdef bint is_blocked            # the stream does not take more for now
    cdef bint is_counted            # in the listener's gauge
    cdef int ticket                 # of the address's place among the connections of its listener; below 0 = none
    cdef bint saw_eof
    cdef int64_t linger_left
    cdef int64_t outstanding        # bytes the client had not taken when makes_progress() was last asked

    cdef void belong_to(self, Process process, ListenerRuntime listener) noexcept
    cdef int admit(self) noexcept
    cdef int admit_address(self) noexcept
    cdef int begin(self) except -1
    cdef bint has_unread(self) noexcept
    cdef int read(self) except -1
    cdef void read_held(self) noexcept
    cdef void refuse(self, int fault) noexcept
    cdef void set_pauses(self, bint is_held, bint is_full) noexcept
    cdef void linger(self) noexcept
    cdef void close(self) noexcept
    cdef void abort(self) noexcept
