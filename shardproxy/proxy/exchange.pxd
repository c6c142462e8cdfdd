# One request and its response.  Knows its two ends only as End; what an end says of itself comes in by the methods here.
# Only these methods change a field of it (tests/unit/proxy/test_exchange_fields.py).
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

# Where it is on its way; exchange.pyx has the table of what may follow what.
cdef enum ExchangeState:
    STARTING = 0                    # it has been made; no endpoint yet
    DELAYED                         # its route's rate limits let it through later
    QUEUED                          # it waits for a free place in the cluster
    AWAITING_ORIGIN                 # a slot at an endpoint is its, a connection is being made
    AWAITING_RESPONSE               # the endpoint gets the request, or has it; no response head yet
    BACKING_OFF                     # between two tries
    RESPONDING                      # a response head has gone to the client
    TUNNELLING                      # bytes both ways, each half closed on its own
    OVER

@cython.final
cdef class Exchange:
    cdef ExchangeState state
    cdef Process process
    cdef ListenerRuntime listener
    cdef RouteRuntime route
    cdef ClusterRuntime cluster
    cdef End client                 # None when it is over
    cdef End awaited                # a connection that is being made for it, in AWAITING_ORIGIN
    cdef End origin                 # whoever has the request; any other that says something of itself is not heard
    cdef Head request               # held to the end: it may have to be sent again
    cdef Framing framing            # of the request
    cdef Copy copy                  # for the route's mirror, until the request is complete; or None
    cdef bint is_shadow             # it is such a copy: nobody waits for it, and it does not count as a request
    cdef Retrier retrier            # None where the route has no `retry`
    cdef Hedger hedger              # None where the route has no `hedge`; its second try has the same
    cdef Pace upload, download      # None where no bandwidth limit is for that direction
    cdef Timed place                # in the cluster's queue, in QUEUED
    cdef int endpoint               # whose slot is reserved; -1 = none
    cdef bint is_request_done       # its last byte has come from the client
    cdef bint is_client_blocked
    cdef bint is_resent
    cdef bint is_client_done        # of a tunnel: that half is closed
    cdef bint is_origin_done
    cdef bint is_second             # beside another one of the same request: never waits in a queue or answers
    cdef int64_t idle_ns            # the longest silence of the response, or of the tunnel
    cdef list held                  # body pieces that came while connecting
    cdef int64_t started_ns
    cdef int64_t sent_ns            # when the request began to go to `endpoint`; 0 = nothing of it did
    cdef int status                 # that went to the client; 0 = none, or that of the fault
    cdef int64_t request_bytes      # of the body, so far
    cdef int64_t response_bytes
    cdef object delayed             # what holds it in DELAYED, or None
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
    cdef void begin(self, Process process, ListenerRuntime listener, End client, bytes peer, Head request,
                    const Framing* framing) noexcept
    cdef int request_body(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1
    cdef int request_end(self) except -1
    cdef void request_failed(self, int fault) noexcept
    cdef int client_eof(self) except -1
    cdef void client_lost(self) noexcept
    cdef void client_blocked(self) noexcept
    cdef int client_writable(self) except -1
    # from an origin, which says which one it is
    cdef int origin_ready(self, End who) except -1
    cdef void origin_failed(self, End who, int fault) noexcept
    cdef int interim_head(self, End who, Head head) except -1
    cdef int response_head(self, End who, Head head, const Framing* framing) except -1
    cdef int response_body(self, End who, bytes data, Py_ssize_t at, Py_ssize_t size) except -1
    cdef int response_trailers(self, End who, bytes data, Py_ssize_t at, Py_ssize_t size) except -1
    cdef int response_end(self, End who) except -1
    cdef int origin_eof(self, End who) except -1
    cdef void origin_lost(self, End who, int fault) noexcept
    cdef void origin_blocked(self, End who) noexcept
    cdef int origin_writable(self, End who) except -1
    cdef void flush_client(self) noexcept
    # from its policies
    cdef int begin_beside(self, Exchange first, Hedger hedger, int endpoint) except -1
    cdef int begin_shadow(self, Exchange original, RouteRuntime route, End client, Head request, const Framing* framing,
                          bytes body, bytes host) except -1
    cdef void delay(self, object delayed) noexcept
    cdef int admitted(self) except -1
    cdef int proceed(self) except -1
    cdef int choose_origin(self) except -1
    cdef int pick(self) except? -2
    cdef int take(self, int endpoint) except -1
    cdef void flush_origin(self) noexcept
    cdef int pass_request_body(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1
    cdef int end_request(self) except -1
    cdef int end_upload_half(self) noexcept
    cdef int pass_response_body(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1
    cdef int end_response(self, int64_t waited_ns) noexcept
    cdef int end_download_half(self) noexcept
    cdef void wait_at(self, Timed place) noexcept
    cdef void leave_place(self) noexcept
    cdef void back_off(self) noexcept
    cdef int rewind(self, tuple sent) except -1
    cdef void take_over(self, Exchange other, int64_t deadline) noexcept
    cdef void abandon(self) noexcept
    cdef void answer_locally(self, int status, bytes head, bytes body) noexcept
    cdef void record_for(self, Copy copy) noexcept
    cdef void limit_bandwidth(self, Pace upload, Pace download) noexcept
    cdef void lead_to(self, ClusterRuntime cluster) noexcept
    cdef void set_path(self, bytes path) noexcept
    cdef void set_host(self, bytes host) noexcept
    cdef void set_request_lines(self, bytes lines) noexcept
    cdef void set_reply_lines(self, bytes lines) noexcept
    cdef int add_response_lines(self, bytes lines) except -1
    cdef void keep_hash_key(self, uint64_t key) noexcept
    cdef void tell_time(self, bint failed) noexcept
    # inside
    cdef void enter(self, ExchangeState state) noexcept
    cdef void check(self) noexcept
    cdef int find_way(self) except -1
    cdef void leave_endpoint(self) noexcept
    cdef void give_endpoint_back(self) noexcept
    cdef void note_failure(self) noexcept
    cdef int ask(self, Source source, bint fresh) except -1
    cdef int no_origin(self, int fault) except -1
    cdef int lose_origin(self, int fault) except -1
    cdef int wait_for_connection(self) except -1
    cdef int hold(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1
    cdef int send_held(self) except -1
    cdef int open_tunnel(self) except -1
    cdef int send_request(self) except -1
    cdef bint can_resend(self) noexcept
    cdef int ignore(self, End who) noexcept
    cdef void crash(self, int fault) noexcept
    cdef void refuse(self, int fault, int64_t retry_after_s) noexcept
    cdef void drop_origin(self, int fault) noexcept
    cdef void finish(self, int fault) noexcept
    cdef void end_policies(self) noexcept
    cdef void account(self, int fault, ExchangeState last) noexcept
