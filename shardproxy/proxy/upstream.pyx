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
from shardproxy.shm.debug cimport SP_DEBUG, UPSTREAMS, born, gone
from .connection cimport NOT_COUNTED
from .exchange cimport TUNNELLING
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
        born(UPSTREAMS)

    def __repr__(self):
        names = ("connecting", "idle", "awaiting a head", "reading a body", "closed")
        return f"<Upstream {names[<int>self.state]} requests={self.requests}>"

    # Life of the connection ----------------------------------------------------------------------------------------

    cdef int opened(self, Stream stream) except -1:
        cdef Exchange exchange = self.exchange      # held while it is told something, since that may be its end
        cdef bytes greeting
        if self.state == CLOSED:    # timed out at the same moment
            stream.abort()
            return 0
        self.stream = stream
        self.attempt = None
        self.state = IDLE
        self.is_open = True
        self.set_deadline(0)
        if exchange is None:    # its client has gone meanwhile
            self.pool.give_back(self)
            return 0
        greeting = self.pool.greeting(exchange)
        if greeting is not None:
            stream.send(PyBytes_AS_STRING(greeting), PyBytes_GET_SIZE(greeting))
        self.assign(exchange)
        exchange.origin_ready(self)
        self.flush()    # the rest of the body may be long in coming
        return 0

    cpdef int connect_failed(self, int fault) except -1:
        """The attempt is over: told once to the exchange that waits for it."""
        cdef Exchange exchange = self.exchange
        if self.state != CONNECTING:
            return 0
        self.state = CLOSED
        self.exchange = None
        self.stop_timer()
        self.leave_pool()
        if self.attempt is not None:
            self.attempt.cancel()
            self.attempt = None
        if exchange is not None:
            exchange.origin_failed(self, fault)
        return 0

    # hot
    cdef void assign(self, Exchange exchange) noexcept:
        """Ready for one more exchange: from here on bytes that come are its response."""
        self.exchange = exchange
        self.state = AWAIT_HEAD
        self.requests += 1
        self.interims = 0
        self.is_request_done = self.keep_alive = False

    cdef bint ended(self) except -1:
        cdef Exchange exchange = self.exchange
        if self.state == READ_BODY and self.body.kind == BODY_UNTIL_CLOSE:
            self.response_end()
        elif self.state == READ_BODY and self.body.kind == BODY_TUNNEL and exchange is not None:
            exchange.origin_eof(self)
            return self.state != CLOSED
        elif self.state == IDLE:
            self.close()
        return False

    cdef int lost(self) except -1:
        cdef Exchange exchange = self.exchange
        cdef int fault = self.why_lost(self.state)
        self.state = CLOSED
        self.exchange = None
        self.stop_timer()
        self.leave_pool()
        self.part()
        if exchange is not None:
            exchange.origin_lost(self, fault)
        return 0

    cdef void crashed(self, int fault) noexcept:
        """Python has raised while it was served: the exchange ends, and nobody else gets this connection."""
        cdef Exchange exchange = self.exchange
        self.exchange = None
        self.input = self.partial = None
        self.abort()
        if exchange is not None:
            exchange.crash(fault)

    cdef void leave_pool(self) noexcept:
        """Counted out once, whether the attempt failed or the connection ended."""
        cdef Source pool = self.pool
        self.pool = None
        if pool is not None:
            gone(UPSTREAMS)
            pool.forget(self)

    cdef int why_lost(self, UpstreamState state) noexcept:
        """STALE_CONNECTION (try again) only when the connection had been idle before and no byte of an answer came."""
        if self.stream is not None and self.stream.fault != Fault.OK:
            return self.stream.fault
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

    cdef int fail(self, int fault) except -1:
        cdef Exchange exchange = self.exchange
        self.exchange = None
        self.input = None
        self.abort()
        if exchange is not None:
            exchange.origin_lost(self, fault)
        return 0

    cdef int timed_out(self) except -1:
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
        return 0

    cdef bint is_awaited(self) noexcept:
        """Somebody waits for our bytes: the client is still taking others, or we hold them back for it."""
        cdef Exchange exchange = self.exchange
        if exchange is None or exchange.client is None:
            return False
        return (exchange.download is not None and exchange.download.holds()) or exchange.client.makes_progress()

    # The exchange to us: the request -------------------------------------------------------------------------------

    # hot
    cdef int send_head(self, Head head, const Framing* framing) except -1:
        self.sending = framing.kind
        self.cork()
        splice_request(self.process.scratch, head, framing, &self.exchange.additions, self.exchange.listener.via)
        self.set_deadline(0)
        return 0

    # hot
    cdef void send_body(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
        Connection.send_body(self, data, at, size)
        if self.exchange.state == TUNNELLING:
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
        """`deadline`: of the answer; one that is still connecting keeps that of the connection."""
        self.exchange = <Exchange>exchange
        if self.state != CONNECTING:
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

    cdef bint is_heard(self) noexcept:
        """Is there an exchange, and are we its origin?"""
        return self.exchange is not None and self.exchange.origin is self

    cdef void blocked(self) noexcept:
        cdef Exchange exchange = self.exchange
        if self.is_heard():
            self.await_answer()
            exchange.origin_blocked(self)

    cdef int writable(self) except -1:
        cdef Exchange exchange = self.exchange
        if self.is_heard():
            if self.state == AWAIT_HEAD and not self.is_request_done:
                self.set_deadline(0)
            exchange.origin_writable(self)
        return 0

    # The peer to us: the response ----------------------------------------------------------------------------------

    # hot
    cdef int received(self, bytes data) except -1:
        cdef Exchange exchange = self.exchange
        if exchange is None:
            self.close()    # nobody asked
            return 0
        if exchange.origin is not self:
            return exchange.ignore(self)
        self.input = data
        self.at = 0
        self.read()
        if self.exchange is not None:
            self.exchange.flush_client()
            if SP_DEBUG and self.exchange is not None:
                self.exchange.check()
        return 0

    # hot
    cdef int read(self) except -1:
        while self.input is not None:
            if self.at == PyBytes_GET_SIZE(self.input):
                self.input = None
            elif self.state == AWAIT_HEAD:
                self.read_head()
            elif self.state == READ_BODY:
                self.read_body()
            else:
                self.input = None
        return 0

    # hot
    cdef int read_head(self) except -1:
        cdef Head head
        cdef int fault
        if self.partial is not None:
            fault = self.join_partial(RESPONSE_LIMITS.max_bytes)
            if fault == Fault.NEED_MORE:
                return 0
            if fault != Fault.OK:
                return self.fail(Fault.BAD_RESPONSE)
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
            self.fail(fault if fault == Fault.NO_RESOURCES else Fault.BAD_RESPONSE)
        give_head(head)
        return 0

    cdef int take_interim(self, Head head) except -1:
        """1xx goes on to the client (RFC 9110 §15.2); 101 is only for who asked for it."""
        self.interims += 1
        if head.status == 101 or self.interims > MAX_INTERIMS or head.codings or head.lengths:
            return self.fail(Fault.BAD_RESPONSE)
        return self.exchange.interim_head(self, head)

    # hot
    cdef int take_response(self, Head head) except -1:
        cdef Framing framing
        if frame_response(head, self.exchange.request.method, &framing) != Fault.OK:
            return self.fail(Fault.BAD_RESPONSE)
        self.keep_alive = not head.says_close and (head.minor == 1 or head.says_keep_alive)
        start_reading(&self.body, &framing)
        if self.exchange.request.wants_trailers and framing.kind == BODY_CHUNKED:
            head.pass_on(FIELD_TRAILER)
        self.state = READ_BODY
        self.exchange.response_head(self, head, &framing)
        if self.state == CLOSED:    # the exchange tries again elsewhere
            return 0
        self.set_deadline(self.wheel.now_ns + self.exchange.idle_ns)
        return self.response_end() if self.body.is_done else 0

    # hot
    cdef int read_body(self) except -1:
        cdef Piece piece
        cdef Py_ssize_t at = self.at
        cdef bytes data = self.input
        if read_body(&self.body, PyBytes_AS_STRING(data) + at, PyBytes_GET_SIZE(data) - at, &piece) != Fault.OK:
            return self.fail(Fault.RESPONSE_CUT)
        self.at = at + piece.used
        self.set_deadline(self.wheel.now_ns + self.exchange.idle_ns)
        if piece.size:
            self.exchange.response_body(self, data, at + piece.at, piece.size)
        if piece.trailer_size and self.exchange is not None:
            self.exchange.response_trailers(self, data, at + piece.trailer_at, piece.trailer_size)
        return self.response_end() if self.body.is_done and self.state == READ_BODY else 0

    # hot
    cdef int response_end(self) except -1:
        """The response is complete; bytes behind it make the connection unfit for another request."""
        cdef Exchange exchange = self.exchange
        if self.body.kind == BODY_UNTIL_CLOSE:
            self.keep_alive = False
        if self.input is not None and self.at < PyBytes_GET_SIZE(self.input):
            self.keep_alive = False
        self.input = None
        return 0 if exchange is None else exchange.response_end(self)
