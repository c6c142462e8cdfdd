# One request and its response.  Knows its two ends only as End; what an end says of itself comes in by the methods here.
cimport cython
from libc.stdint cimport int64_t, uint64_t

from shardproxy.http1.framing cimport Framing
from shardproxy.http1.head cimport Head
from shardproxy.http1.names cimport Method
from shardproxy.http1.splice cimport RequestAdditions
from .ends cimport Copy, End, Hedger, Pace, Retrier, Source
from .timers cimport Timed
from .process cimport Process
from .runtime cimport ClusterRuntime, ListenerRuntime, RouteRuntime

@cython.final
cdef class Exchange:
    cdef Process process
    cdef ListenerRuntime listener
    cdef RouteRuntime route
    cdef ClusterRuntime cluster
    cdef End client
    cdef End origin                 # None while connecting and when it is lost
    cdef Head request               # held to the end: it may have to be sent again
    cdef Framing framing            # of the request
    cdef Copy copy                  # for the route's mirror, until the request is complete; or None
    cdef bint is_shadow             # it is such a copy: nobody waits for it, and it does not count as a request
    cdef Retrier retrier            # None where the route has no `retry`
    cdef Hedger hedger              # None where the route has no `hedge`; its second try has the same
    cdef Pace upload, download      # None where no bandwidth limit is for that direction
    cdef Timed place                # in the cluster's queue, while it waits there
    cdef int endpoint               # whose slot is reserved; -1 = none
    cdef bint is_request_done       # its last byte has come from the client
    cdef bint is_sent               # some of it went to the origin
    cdef bint is_answered           # a response head, or our reply, went to the client
    cdef bint is_client_blocked
    cdef bint is_resent
    cdef bint is_tunnel             # 101 was answered: bytes both ways, each half closed on its own
    cdef bint is_client_done        # of a tunnel: that half is closed
    cdef bint is_origin_done
    cdef bint is_second             # beside another one of the same request: never waits in a queue or answers
    cdef bint is_over
    cdef int64_t idle_ns            # the longest silence of the response, or of the tunnel
    cdef list held                  # body pieces that came while connecting
    cdef int64_t started_ns
    cdef int64_t sent_ns
    cdef int status                 # that went to the client; 0 = none, or that of the fault
    cdef int64_t request_bytes      # of the body, so far
    cdef int64_t response_bytes
    cdef object delayed             # what holds a request that its route's gate lets through later, or None
    cdef bytes request_lines        # what additions.lines points into, or None
    cdef bytes reply_lines          # fields of our own reply beside the usual ones, or None
    cdef bytes extra_lines          # fields that the response gets beside the origin's, whole lines, or None
    cdef uint64_t hash_key          # if has_hash_key: what the route's `hash` has found
    cdef bint has_hash_key
    cdef RequestAdditions additions
    cdef char[40] request_id
    cdef bytes path                 # the normalised one, or None: as it came
    cdef bytes peer                 # what additions.peer points into

    # from the client
    cdef void begin(self) noexcept
    cdef void request_body(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept
    cdef void hold(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept
    cdef void send_held(self) noexcept
    cdef void request_end(self) noexcept
    cdef void request_failed(self, int fault) noexcept
    cdef void client_eof(self) noexcept
    cdef void client_lost(self) noexcept
    cdef void client_blocked(self) noexcept
    cdef void client_writable(self) noexcept
    # from the origin
    cdef void origin_ready(self, End origin) noexcept
    cdef void origin_failed(self, int fault) noexcept
    cdef void interim_head(self, Head head) noexcept
    cdef void response_head(self, Head head, const Framing* framing) noexcept
    cdef void response_body(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept
    cdef void response_trailers(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept
    cdef void response_end(self) noexcept
    cdef void origin_eof(self) noexcept
    cdef void origin_lost(self, int fault) noexcept
    cdef void origin_blocked(self) noexcept
    cdef void origin_writable(self) noexcept
    # inside
    cdef void proceed(self) noexcept
    cdef void choose_origin(self) noexcept
    cdef int pick(self) noexcept
    cdef void take(self, int endpoint) noexcept
    cdef void give_endpoint_back(self) noexcept
    cdef void tell_time(self, bint failed) noexcept
    cdef void note_failure(self) noexcept
    cdef void ask(self, Source source, bint fresh) noexcept
    cdef void open_tunnel(self) noexcept
    cdef void send_request(self) noexcept
    cdef bint can_resend(self) noexcept
    cdef void refuse(self, int fault, int64_t retry_after_s) noexcept
    cdef void finish(self, int fault) noexcept
    cdef void account(self, int fault) noexcept
