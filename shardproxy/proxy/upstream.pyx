"""An HTTP/1.1 connection to an endpoint.

    CONNECTING ──> IDLE <──────────────────┐
                    │ assign                │ release: both messages complete, no doubt about the framing
                    v                       │
                AWAIT_HEAD ──> READ_BODY ───┘            any doubt, fault or timeout ──> CLOSED

A byte that nobody asked for closes the connection: no response can ever reach another request's client.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from shardproxy.http1.faults cimport Fault
from shardproxy.http1.framing cimport (
    BODY_CHUNKED, BODY_TUNNEL, BODY_UNTIL_CLOSE, Framing, Piece, frame_response, read_body, start_reading
)
from shardproxy.http1.head cimport HeadLimits, give_head, take_head
from shardproxy.http1.names cimport FIELD_TRAILER
from shardproxy.http1.splice cimport splice_request
from .connection cimport NOT_COUNTED
from .introduction cimport accepts_upgrade

cdef enum:
    MAX_INTERIMS = 16           # 1xx responses before the final one

cdef HeadLimits RESPONSE_LIMITS = HeadLimits(max_bytes=65536, max_fields=256, max_target=0)


@cython.final
cdef class Upstream(Connection):

    def __init__(self, Process process not None, Source pool not None):
        self.process = process
        self.wheel = process.wheel
        self.pool = pool
        self.written = NOT_COUNTED
        self.state = CONNECTING

    def __repr__(self):
        names = ("connecting", "idle", "awaiting a head", "reading a body", "closed")
        return f"<Upstream {names[<int>self.state]} requests={self.requests}>"

    # Life of the connection ----------------------------------------------------------------------------------------

    cdef void opened(self, Stream stream) noexcept:
        cdef bytes greeting
        if self.state == CLOSED:    # timed out at the same moment
            stream.abort()
            return
        self.stream = stream
        self.attempt = None
        self.state = IDLE
        self.set_deadline(0)
        if self.exchange is None or self.exchange.is_over:  # its client has gone meanwhile
            self.exchange = None
            self.pool.give_back(self)
        else:
            greeting = self.pool.greeting(self.exchange)
            if greeting is not None:
                stream.send(PyBytes_AS_STRING(greeting), PyBytes_GET_SIZE(greeting))
            self.assign(self.exchange)
            self.exchange.origin_ready(self)
            self.flush()    # the rest of the body may be long in coming

    cdef void connect_failed(self, int fault) noexcept:
        """The attempt is over: told once to whoever waits for it."""
        cdef Exchange exchange = self.exchange
        if self.state != CONNECTING:
            return
        self.state = CLOSED
        self.exchange = None
        self.stop_timer()
        self.leave_pool()
        if self.attempt is not None:
            self.attempt.cancel()
            self.attempt = None
        if exchange is not None:
            exchange.origin_failed(fault)

    # hot
    cdef void assign(self, Exchange exchange) noexcept:
        """Ready for one more exchange: from here on bytes that come are its response."""
        self.exchange = exchange
        self.state = AWAIT_HEAD
        self.requests += 1
        self.interims = 0
        self.is_request_done = self.keep_alive = False

    cdef bint ended(self) noexcept:
        if self.state == READ_BODY and self.body.kind == BODY_UNTIL_CLOSE:
            self.response_end()
        elif self.state == READ_BODY and self.body.kind == BODY_TUNNEL and self.exchange is not None:
            self.exchange.origin_eof()
            return self.state != CLOSED
        elif self.state == IDLE:
            self.close()
        return False

    cdef void lost(self) noexcept:
        cdef UpstreamState state = self.state
        cdef Exchange exchange = self.exchange
        self.state = CLOSED
        self.exchange = None
        self.stop_timer()
        self.leave_pool()
        if exchange is not None:
            exchange.origin_lost(self.why_lost(state))
        self.part()

    cdef void leave_pool(self) noexcept:
        """Counted out once, whether the attempt failed or the connection ended."""
        cdef Source pool = self.pool
        self.pool = None
        if pool is not None:
            pool.forget(self)

    cdef int why_lost(self, UpstreamState state) noexcept:
        """STALE_CONNECTION (try again) only when the connection had been idle before and no byte of an answer came."""
        if state == READ_BODY:
            return Fault.RESPONSE_CUT
        if self.requests > 1 and self.partial is None and self.interims == 0:
            return Fault.STALE_CONNECTION
        return Fault.UPSTREAM_GONE

    cdef void close(self) noexcept:
        """Nothing is owed to the endpoint any more."""
        if self.state != CLOSED:
            self.state = CLOSED
            self.stop_timer()
            if self.is_listed:
                self.leave_pool()
            if self.stream is not None:
                self.stream.close()

    cdef void abort(self) noexcept:
        """What was sent must not look complete, and what was not is dropped."""
        self.discard()
        if self.state != CLOSED:
            self.state = CLOSED
            self.stop_timer()
            if self.stream is not None:
                self.stream.abort()

    cdef void fail(self, int fault) noexcept:
        cdef Exchange exchange = self.exchange
        self.exchange = None
        self.input = None
        self.abort()
        if exchange is not None:
            exchange.origin_lost(fault)

    cdef void timed_out(self) noexcept:
        if self.state == CONNECTING:
            self.connect_failed(Fault.CONNECT_TIMEOUT)
        elif self.state == AWAIT_HEAD:
            self.fail(Fault.RESPONSE_TIMEOUT)
        elif self.state == READ_BODY and self.is_paused and self.is_awaited():
            self.set_deadline(self.wheel.now_ns + self.exchange.idle_ns)    # the client is slow, not stalled
        elif self.state == READ_BODY:
            self.fail(Fault.RESPONSE_STALLED)
        else:
            self.close()

    cdef bint is_awaited(self) noexcept:
        """Somebody waits for our bytes: the client is still taking others, or we hold them back for it."""
        cdef Exchange exchange = self.exchange
        return (exchange.download is not None and exchange.download.holds()) or exchange.client.makes_progress()

    # The exchange to us: the request -------------------------------------------------------------------------------

    # hot
    cdef void send_head(self, Head head, const Framing* framing) noexcept:
        self.sending = framing.kind
        self.cork()
        splice_request(self.process.scratch, head, framing, &self.exchange.additions, self.exchange.listener.via)
        self.set_deadline(0)

    # hot
    cdef void send_body(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
        Connection.send_body(self, data, at, size)
        if self.exchange.is_tunnel:
            self.set_deadline(self.wheel.now_ns + self.exchange.idle_ns)

    # hot
    cdef void finish(self) noexcept:
        Connection.finish(self)
        self.is_request_done = True
        self.await_answer()

    # hot
    cdef void await_answer(self) noexcept:
        """The route's timeout runs while it is the endpoint's turn: the request is complete, or the endpoint takes no
        more of it.  A client that is slow with its body is not held against the endpoint."""
        if self.state == AWAIT_HEAD:
            if self.exchange.retrier is None:
                self.set_deadline(self.wheel.now_ns + self.exchange.route.timeout_ns)
            else:
                self.set_deadline(self.exchange.retrier.answer_deadline(self.wheel.now_ns))

    cdef void open_tunnel(self) noexcept:
        cdef Framing tunnel = Framing(kind=BODY_TUNNEL, length=0)
        self.is_request_done = True
        self.sending = BODY_TUNNEL
        self.state = READ_BODY
        start_reading(&self.body, &tunnel)
        self.set_deadline(self.wheel.now_ns + self.exchange.idle_ns)

    cdef void pause(self) noexcept:
        if not self.is_paused and self.stream is not None and self.state != CLOSED:
            self.is_paused = True
            self.stream.pause()

    cdef void resume(self) noexcept:
        if self.is_paused and self.stream is not None and self.state != CLOSED:
            self.is_paused = False
            self.stream.resume()
            if self.state == READ_BODY and self.exchange is not None:   # it could not be heard until now
                self.set_deadline(self.wheel.now_ns + self.exchange.idle_ns)

    cdef void reset(self, int fault) noexcept:
        """The exchange has given up.  An attempt that is still connecting goes on, for the pool."""
        self.exchange = None
        self.input = None
        if self.state != CONNECTING:
            self.abort()

    cdef void change_exchange(self, object exchange, int64_t deadline) noexcept:
        self.exchange = <Exchange>exchange
        self.set_deadline(deadline)

    # hot
    cdef void release(self) noexcept:
        self.exchange = None
        if self.keep_alive and self.is_request_done and self.state == READ_BODY and self.body.is_done:
            self.state = IDLE
            self.resume()
            self.pool.give_back(self)
        elif self.is_request_done:
            self.close()
        else:
            self.abort()

    cdef void blocked(self) noexcept:
        if self.exchange is not None:
            self.await_answer()
            self.exchange.origin_blocked()

    cdef void writable(self) noexcept:
        if self.exchange is not None:
            if self.state == AWAIT_HEAD and not self.is_request_done:
                self.set_deadline(0)
            self.exchange.origin_writable()

    # The peer to us: the response ----------------------------------------------------------------------------------

    # hot
    cdef void received(self, bytes data) noexcept:
        if self.exchange is None:
            self.close()    # nobody asked
            return
        self.input = data
        self.at = 0
        self.read()
        if self.exchange is not None:
            self.exchange.client.flush()

    # hot
    cdef void read(self) noexcept:
        while self.input is not None:
            if self.at == PyBytes_GET_SIZE(self.input):
                self.input = None
            elif self.state == AWAIT_HEAD:
                self.read_head()
            elif self.state == READ_BODY:
                self.read_body()
            else:
                self.input = None

    # hot
    cdef void read_head(self) noexcept:
        cdef Head head
        cdef int fault
        if self.partial is not None:
            fault = self.join_partial(RESPONSE_LIMITS.max_bytes)
            if fault == Fault.NEED_MORE:
                return
            if fault != Fault.OK:
                self.fail(Fault.BAD_RESPONSE)
                return
        head = take_head()
        fault = head.scan_response(self.input, self.at, &RESPONSE_LIMITS)
        if fault == Fault.OK:
            self.at += head.size
            if head.status < 200 and not (head.status == 101 and accepts_upgrade(head, &self.exchange.additions)):
                self.take_interim(head)
            else:
                self.take_response(head)
        elif fault == Fault.NEED_MORE:
            self.keep_partial()
        else:
            self.fail(Fault.BAD_RESPONSE)
        give_head(head)

    cdef void take_interim(self, Head head) noexcept:
        """1xx goes on to the client (RFC 9110 §15.2); 101 is only for who asked for it."""
        self.interims += 1
        if head.status == 101 or self.interims > MAX_INTERIMS or head.codings or head.lengths:
            self.fail(Fault.BAD_RESPONSE)
        else:
            self.exchange.interim_head(head)

    # hot
    cdef void take_response(self, Head head) noexcept:
        cdef Framing framing
        if frame_response(head, self.exchange.request.method, &framing) != Fault.OK:
            self.fail(Fault.BAD_RESPONSE)
            return
        self.keep_alive = not head.says_close and (head.minor == 1 or head.says_keep_alive)
        start_reading(&self.body, &framing)
        if self.exchange.request.wants_trailers and framing.kind == BODY_CHUNKED:
            head.pass_on(FIELD_TRAILER)
        self.state = READ_BODY
        self.exchange.response_head(head, &framing)
        if self.state == CLOSED:    # the exchange tries again elsewhere
            return
        self.set_deadline(self.wheel.now_ns + self.exchange.idle_ns)
        if self.body.is_done:
            self.response_end()

    # hot
    cdef void read_body(self) noexcept:
        cdef Piece piece
        cdef Py_ssize_t at = self.at
        cdef bytes data = self.input
        if read_body(&self.body, PyBytes_AS_STRING(data) + at, PyBytes_GET_SIZE(data) - at, &piece) != Fault.OK:
            self.fail(Fault.RESPONSE_CUT)
            return
        self.at = at + piece.used
        self.set_deadline(self.wheel.now_ns + self.exchange.idle_ns)
        if piece.size:
            self.exchange.response_body(data, at + piece.at, piece.size)
        if piece.trailer_size:
            self.exchange.response_trailers(data, at + piece.trailer_at, piece.trailer_size)
        if self.body.is_done and self.state == READ_BODY:
            self.response_end()

    # hot
    cdef void response_end(self) noexcept:
        """The response is complete; bytes behind it make the connection unfit for another request."""
        cdef Exchange exchange = self.exchange
        if self.body.kind == BODY_UNTIL_CLOSE:
            self.keep_alive = False
        if self.input is not None and self.at < PyBytes_GET_SIZE(self.input):
            self.keep_alive = False
        self.input = None
        if exchange is not None:
            exchange.response_end()
