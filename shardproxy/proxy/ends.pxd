# The narrow interface between an exchange and what it stands between: an End on each side, and a Source of ends.
# HTTP/1 connections implement it; HTTP/2 streams will.
#
# `except -1`: Python may run in it, and raise.  `noexcept`: no Python can; endings are of that kind, so that whatever was
# taken is given back.
from libc.stdint cimport int64_t, uint64_t

from shardproxy.http1.framing cimport Framing
from shardproxy.http1.head cimport Head
from .streams cimport Receiver
from .timers cimport Timed

cdef class End(Receiver):
    cdef bint is_open                                   # to an endpoint: it is connected; until then it is only awaited
    cdef dict allowances                                # buckets of bandwidth limits that its connection has, or None
    # the exchange to the end: messages
    cdef int send_head(self, Head head, const Framing* framing) except -1
    cdef void send_body(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept
    cdef int keep_trailers(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1  # they go out with finish()
    cdef void finish(self) noexcept                     # the message is complete
    cdef void open_tunnel(self) noexcept                # CONNECT: from here on bytes go as they come
    cdef void half_close(self) noexcept                 # a tunnel: the other side sends no more
    cdef void flush(self) noexcept                      # let go what is held to be joined
    # only to the client
    cdef void send_interim(self, Head head) noexcept    # a 1xx of the origin, before the response
    cdef void reply(self, int fault, int64_t retry_after_s) noexcept  # our own answer in place of a response
    cdef void answer(self, bytes head, bytes body) noexcept  # a response that the route has: its first lines, and body
    cdef int read_on(self) except -1                    # what came behind the head that opened a tunnel is to be read
    cdef bytes announce(self, int version)              # the PROXY protocol header that tells of the client
    # flow
    cdef void pause(self) noexcept                      # read no more from the peer for now
    cdef void resume(self) noexcept
    cdef bint makes_progress(self) noexcept             # does the peer still take what was written?
    # endings
    cdef void reset(self, int fault) noexcept           # give up: what was sent must not look complete
    cdef void release(self) noexcept                    # the exchange is over: be ready for another one, or close
    # only to an endpoint
    cdef void change_exchange(self, object exchange, int64_t deadline) noexcept  # its answer, due by then, is that one's

# Where an exchange gets the end of its endpoint from.
cdef class Source:
    cdef readonly bytes label                           # the endpoint's address, for logs
    # an end that is open; or one that is awaited: exchange.origin_ready() or exchange.origin_failed() follows later; or None,
    # and why: no connection may be had, or our own resources do not suffice
    cdef End take(self, object exchange, int* fault)
    # the same, but always a fresh connection: for a request that lost the race with the endpoint's close of an idle one
    cdef End connect(self, object exchange, int* fault)
    cdef void give_back(self, End end) noexcept         # its exchange is over, it can take another
    cdef void forget(self, End end) noexcept            # it is closed
    # what a new connection begins with, or None
    cdef bytes greeting(self, object exchange)

# What a route with `retry` gives to an exchange: it decides whether a try was the last one, and makes the next.
cdef class Retrier:
    cdef int tries                                      # retries so far
    cdef uint64_t tried                                 # endpoints, a bit for each of the first 64
    cdef void keep(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept   # this of the body goes out now
    cdef void request_ended(self) noexcept
    cdef int64_t answer_deadline(self, int64_t now) noexcept    # by when the response's head must have come
    # true: the try is forgotten, and there will be another, so the client is told nothing
    cdef bint after_fault(self, int fault) except -1
    cdef bint after_head(self, Head head) except -1
    cdef void note_tried(self, int endpoint) noexcept
    cdef void settle(self) noexcept                     # no further try
    cdef void end(self) noexcept                        # the exchange is over, whatever was waited for

# Where exchanges wait while a cluster with `queue` is full.  What a new one waits in is the exchange's `place`.
cdef class WaitingRoom(Timed):
    cdef bint is_busy(self) noexcept                    # somebody waits already, in whichever worker
    cdef bint enter(self, object exchange) except -1    # true: it is told later; false: there is no room
    cdef void beg(self) noexcept                        # one waits for a connection: idle ones elsewhere are to go
    cdef void leave(self, object place) noexcept        # it will not be served
    cdef void freed(self, object exchange) noexcept     # that one has given its endpoint back
    cdef void connection_ended(self) noexcept           # of a cluster that has max_connections
    cdef int attach(self, object cluster) except -1     # the ClusterRuntime that is to be served next

cdef class RetryPlan:
    cdef Retrier begin(self, object exchange)

# What a route with `hedge` gives to an exchange: it may make a second try beside the first, as an exchange of its own.
cdef class Hedger:
    # true: it has seen to this, which is not the exchange's concern any more
    cdef bint head_came(self, object exchange, Head head, const Framing* framing) except -1
    cdef bint interim_came(self, object exchange) noexcept
    cdef bint try_failed(self, object exchange) noexcept
    cdef void end(self) noexcept                        # the exchange is over

cdef class HedgePlan:
    cdef Hedger begin(self, object exchange)            # it is sent; None: this request is not hedged

# What a route with `hash` keeps requests together by.
cdef class Hashing:
    cdef int pick(self, object exchange) except? -2     # as Cluster.choose_except()

# What stands before a route: it lets a request through, refuses it, or lets it through later.
cdef class Gate:
    # true: go on; false: it was refused, or exchange.admitted() follows later
    cdef bint admit(self, object exchange) except -1
    cdef void leave(self, object exchange) noexcept     # the exchange is over

# What holds back one direction of an exchange where bandwidth limits say so.  While it `holds`, the source is paused.
cdef class Pace(Timed):
    cdef bint is_ending                                 # it holds the end of the message, too
    cdef bint is_blocked                                # the sink takes no more for now
    cdef int64_t waited_ns                              # for how long it has held something back, in all
    # true: not now; the exchange gets it again when it may go on
    cdef bint hold(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1
    cdef bint hold_end(self, bint is_half) noexcept     # `is_half`: of a tunnel
    cdef bint holds(self) noexcept
    # the sink takes bytes again; true: nothing is held back
    cdef bint go_on(self) except -1
    cdef void end(self) noexcept                        # the exchange is over

# What a route with bandwidth limits gives to its exchanges: an `upload`, a `download`, or both.
cdef class PacePlan:
    cdef int begin(self, object exchange) except -1
    cdef void leave(self, object exchange) noexcept     # the exchange is over

# Who writes down what has happened: each exchange that is over, and each connection that was refused before one began.
cdef class Journal(Timed):
    cdef void note(self, object exchange, int fault) noexcept
    cdef void note_refusal(self, bytes peer, int fault) noexcept

# What a route does besides sending requests to its cluster as they are.
cdef class Action:
    cdef bint begin(self, object exchange) except -1        # false: it is answered already
    cdef int edit_request(self, object exchange) except -1  # the client has been introduced
    cdef int edit_response(self, object exchange, Head head) except -1

# What is kept of a request for a copy of it.
cdef class Copy:
    cdef void keep(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept   # this of the body has come
    cdef void complete(self) noexcept                   # all of it has
    cdef void forget(self) noexcept                     # the request is over before that
