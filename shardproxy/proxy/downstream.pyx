"""An HTTP/1.1 connection from a client.

    READ_PROXY_HEADER (where the listener expects one)
        v
    READ_HEAD ──> READ_BODY ──> AWAIT_END ──┐ release, kept alive
        ^  └──────(no body)────────^        │
        └────────────────────────────────────┤      release, to be closed ──> LINGER ──> CLOSED
                                             └─ 101 ──> TUNNEL ──> CLOSED

Requests are answered one after the other, in order; what a client pipelines waits in `input`, bounded.
"""

cimport cython
from libc.stdint cimport int64_t
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from shardproxy.http1.faults cimport Fault
from shardproxy.http1.framing cimport (
    BODY_CHUNKED, BODY_NONE, BODY_TUNNEL, BODY_UNTIL_CLOSE, Framing, Piece, frame_request, read_body, start_reading
)
from shardproxy.http1.grammar cimport SP_TOKEN, sp_class
from shardproxy.http1.head cimport Field, give_head, take_head
from shardproxy.http1.names cimport FIELD_UPGRADE, METHOD_HEAD
from shardproxy.http1.proxy_protocol cimport ProxyHeader, scan_proxy_header, source_text
from shardproxy.http1.splice cimport Scratch, splice_response
from shardproxy.shm.debug cimport SP_DEBUG
from shardproxy.shm.metrics cimport count
from .answer cimport begin_reply, closes, end_reply, has_reply
from .client cimport AWAIT_END, CLOSED, LINGER, READ_BODY, READ_HEAD, READ_PROXY_HEADER, TUNNEL
from .connection cimport Connection
from .ends cimport Pace
from .exchange cimport OVER, Exchange
from .runtime cimport UNLIMITED

cdef enum:
    PIPELINE_BYTES = 65536          # what may wait behind the exchange that is under way
    MAX_BLANK_LINES = 4             # before a request line (RFC 9112 §2.2)


@cython.final
cdef class Downstream(Client):

    cdef int begin(self) except -1:
        cdef int fault = self.admit()
        self.state = READ_PROXY_HEADER if self.listener.expects_proxy_header else READ_HEAD
        if fault == Fault.OK and self.state == READ_HEAD:
            fault = self.admit_address()
        if fault != Fault.OK:
            self.refuse(fault)
        return 0

    # The client to us ----------------------------------------------------------------------------------------------

    # hot
    cdef int received(self, bytes data) except -1:
        count(self.process.cells, self.process.slots.bytes_in, PyBytes_GET_SIZE(data))
        if self.state == LINGER:
            self.linger_left -= PyBytes_GET_SIZE(data)
            if self.linger_left < 0:
                self.abort()
            return 0
        if self.input is None:
            self.input = data
            self.at = 0
        else:
            self.input = self.input[self.at:] + data  # warm: only when requests are pipelined
            self.at = 0
        return self.read()

    # hot
    cdef int read(self) except -1:
        """Read on until the input is used up or has to wait for the response.  Never entered twice: answers that come
        at once only change the state, and the loop goes on.  A client that does not take its answers gets no new ones."""
        if self.is_reading:
            return 0
        self.is_reading = True
        self.read_all()
        self.is_reading = False
        if self.exchange is not None:
            self.exchange.flush_origin()
            if SP_DEBUG and self.exchange is not None:
                self.exchange.check()
        if self.saw_eof and self.state == READ_HEAD:
            self.close()
        return 0

    # hot
    cdef int read_all(self) except -1:
        while self.input is not None:
            if self.at == PyBytes_GET_SIZE(self.input):
                self.input = None
            elif self.state == READ_HEAD and not self.is_blocked:
                self.read_head()
            elif self.state == READ_BODY:
                self.read_body()
            elif self.state == READ_PROXY_HEADER:
                if self.read_proxy_header() == Fault.NEED_MORE:
                    break
            elif self.state == TUNNEL:
                self.read_tunnel()
            elif self.state == AWAIT_END or self.state == READ_HEAD:
                self.hold_input()
                break
            else:
                self.input = None
        return 0

    cdef void crashed(self, int fault) noexcept:
        """Python has raised while the client was served; bytes of it may be missing, so no further request is read."""
        cdef Exchange exchange = self.exchange
        self.is_reading = self.keep_alive = False
        self.input = self.partial = None
        if exchange is not None and exchange.state != OVER:
            exchange.crash(fault)
        elif self.state == READ_HEAD or self.state == READ_PROXY_HEADER:
            self.refuse(fault)
        else:
            self.abort()

    cdef int read_proxy_header(self) except -1:
        """Whom the proxy in front of us connects for: from here on its word is the client's address."""
        cdef ProxyHeader header
        cdef int fault = scan_proxy_header(PyBytes_AS_STRING(self.input) + self.at,
                                           PyBytes_GET_SIZE(self.input) - self.at, &header)
        if fault == Fault.OK:
            self.at += header.size
            self.state = READ_HEAD
            if not header.is_local:
                self.peer = source_text(&header)
                self.announced = header
            fault = self.admit_address()
        if fault != Fault.OK and fault != Fault.NEED_MORE:
            self.refuse(fault)
        return fault

    # hot
    cdef int read_head(self) except -1:
        cdef Framing framing
        cdef Head head
        cdef int fault
        if self.partial is not None:
            fault = self.join_partial(self.listener.limits.max_bytes)
            if fault != Fault.OK:
                if fault != Fault.NEED_MORE:
                    self.refuse(fault)
                return 0
        if not self.skip_blank_lines():
            return 0
        head = take_head()
        fault = head.scan_request(self.input, self.at, &self.listener.limits)
        if fault == Fault.OK:
            fault = frame_request(head, &framing)
        if fault == Fault.OK:
            if self.listener.max_body != UNLIMITED and framing.length > self.listener.max_body:
                fault = Fault.BODY_TOO_LARGE
            else:
                self.at += head.size
                return self.begin_exchange(head, &framing)
        give_head(head)
        if fault == Fault.NEED_MORE:
            self.keep_partial()
        else:
            self.refuse(fault)
        return 0

    # hot
    cdef bint skip_blank_lines(self) noexcept:
        """CR LF before a request line is read over (RFC 9112 §2.2), a few times; false when nothing else is there."""
        cdef const char* p = PyBytes_AS_STRING(self.input)
        cdef Py_ssize_t n = PyBytes_GET_SIZE(self.input)
        while n - self.at >= 2 and p[self.at] == b'\r' and p[self.at + 1] == b'\n':
            self.at += 2
            self.blank_lines += 1
        if self.blank_lines > MAX_BLANK_LINES:
            self.refuse(Fault.BAD_REQUEST_LINE)
            return False
        return self.at < n

    cdef int keep_partial(self) except -1:
        """The rest of the head has as long as request_head, from its first byte on."""
        cdef unsigned char first = PyBytes_AS_STRING(self.input)[self.at]
        Connection.keep_partial(self)
        self.set_deadline(self.wheel.now_ns + self.listener.request_head_ns)
        if first != b'\r' and not sp_class[first] & SP_TOKEN:
            self.refuse(Fault.BAD_REQUEST_LINE)
        return 0

    # hot
    cdef int begin_exchange(self, Head head, const Framing* framing) except -1:
        cdef Exchange exchange = Exchange.__new__(Exchange)
        self.blank_lines = 0
        self.exchange = exchange
        self.is_http10 = head.minor == 0
        self.keep_alive = not head.says_close and (head.minor == 1 or head.says_keep_alive)
        start_reading(&self.body, framing)
        if framing.kind == BODY_NONE:
            self.state = AWAIT_END
            self.set_deadline(0)
        else:
            self.state = READ_BODY
            self.body_since_ns = self.wheel.now_ns
            self.set_deadline(self.wheel.now_ns + self.listener.request_body_ns)
        exchange.begin(self.process, self.listener, self, self.peer, head, framing)
        return 0

    # hot
    cdef int read_body(self) except -1:
        cdef Piece piece
        cdef Py_ssize_t at = self.at
        cdef bytes data = self.input
        cdef Exchange exchange = self.exchange
        cdef int fault = read_body(&self.body, PyBytes_AS_STRING(data) + at, PyBytes_GET_SIZE(data) - at, &piece)
        if fault == Fault.OK and self.listener.max_body != UNLIMITED and self.body.seen > self.listener.max_body:
            fault = Fault.BODY_TOO_LARGE
        if fault != Fault.OK:
            self.input = None
            exchange.request_failed(fault)
            return 0
        self.at = at + piece.used
        self.set_deadline(self.body_deadline())
        if piece.size:
            exchange.request_body(data, at + piece.at, piece.size)
        if self.body.is_done and self.state == READ_BODY:
            self.state = AWAIT_END
            self.set_deadline(0)
            exchange.request_end()
        return 0

    cdef int64_t body_deadline(self) noexcept:
        """The longest silence; and with a minimum rate, no later than the bytes so far allow (Apache's mod_reqtimeout)."""
        cdef int64_t deadline = self.wheel.now_ns + self.listener.request_body_ns
        cdef Pace upload = self.exchange.upload
        if self.listener.ns_per_body_byte == 0:
            return deadline
        return min(deadline, self.body_since_ns + self.listener.request_body_ns
                   + (0 if upload is None else upload.waited_ns)
                   + <int64_t>(self.body.seen * self.listener.ns_per_body_byte))

    cdef int read_tunnel(self) except -1:
        cdef Exchange exchange = self.exchange
        cdef bytes data = self.input
        self.input = None
        return exchange.request_body(data, self.at, PyBytes_GET_SIZE(data) - self.at)

    cdef void hold_input(self) noexcept:
        """Pipelined bytes wait; enough of them, and the client has to wait too."""
        self.set_pauses(self.is_held, PyBytes_GET_SIZE(self.input) - self.at >= PIPELINE_BYTES)

    cdef void refuse(self, int fault) noexcept:
        """A fault before there is an exchange: answer it and close."""
        count(self.process.cells, self.process.slots.faults[fault], 1)
        if self.listener.journal is not None:
            self.listener.journal.note_refusal(self.peer, fault)
        self.input = self.partial = None
        self.keep_alive = False
        self.reply(fault, 0)
        self.linger()

    # The exchange to us: the response ------------------------------------------------------------------------------

    # hot
    cdef int send_head(self, Head head, const Framing* framing) except -1:
        """A body without a length is sent chunked, so that the client can tell its end from a cut; to an HTTP/1.0
        client it ends with the connection."""
        cdef Framing sent = framing[0]
        if framing.kind == BODY_UNTIL_CLOSE or framing.kind == BODY_CHUNKED:
            sent.kind = BODY_UNTIL_CLOSE if self.is_http10 else BODY_CHUNKED
        self.sending = sent.kind
        self.cork()
        if sent.kind == BODY_TUNNEL:
            self.state = TUNNEL
            self.keep_alive = False
            self.set_pauses(self.is_held, False)
            splice_response(self.process.scratch, head, &sent, self.with_extra(self.upgrade_lines(head)),
                            self.process.date_line, self.listener.via)
            return 0
        if sent.kind == BODY_UNTIL_CLOSE or self.is_last():
            self.keep_alive = False
        elif self.state == READ_BODY and head.status >= 300:
            self.keep_alive = False     # the rest of the request would have to be read for nothing
        splice_response(self.process.scratch, head, &sent, self.with_extra(self.connection_line()),
                        self.process.date_line, self.listener.via)
        return 0

    cdef void open_tunnel(self) noexcept:
        """The endpoint is reached: 200 without a body, and from here on bytes go as they come (RFC 9110 §9.3.6)."""
        self.state = TUNNEL
        self.keep_alive = False
        self.sending = BODY_TUNNEL
        self.cork()
        self.process.scratch.add(b"HTTP/1.1 200 Connection Established\r\n", 37)
        self.process.scratch.add_bytes(self.process.date_line)
        self.process.scratch.add(b"\r\n", 2)
        self.flush()
        self.resume()

    cdef bytes upgrade_lines(self, Head head):
        cdef const Field* field = head.find(FIELD_UPGRADE)
        return b"Connection: upgrade\r\nUpgrade: %s\r\n" % head.base[field.value:field.value + field.value_len]

    cdef bint is_last(self) noexcept:
        """No further request is to come over this connection, or can."""
        return self.listener.is_leaving or self.process.stops_keep_alive or self.has_ended()

    cdef bint has_ended(self) noexcept:
        """No further request can come: the client has closed its side, and nothing that it pipelined is waiting."""
        return self.saw_eof and (self.input is None or self.at == PyBytes_GET_SIZE(self.input))

    # hot
    cdef bytes connection_line(self):
        if not self.keep_alive:
            return b"Connection: close\r\n"
        return b"Connection: keep-alive\r\n" if self.is_http10 else b""

    cdef void add_connection_line(self) noexcept:
        if not self.keep_alive:
            self.process.scratch.add(b"Connection: close\r\n", 19)
        elif self.is_http10:
            self.process.scratch.add(b"Connection: keep-alive\r\n", 24)

    # hot
    cdef bytes with_extra(self, bytes lines):
        """Behind them what the exchange adds to its response."""
        if self.exchange.extra_lines is None:
            return lines
        return lines + self.exchange.extra_lines  # warm: only where something is added

    cdef void send_interim(self, Head head) noexcept:
        """1xx goes on; a client of HTTP/1.0 does not know it (RFC 9110 §15.2)."""
        cdef Framing none = Framing(kind=BODY_NONE, length=0)
        if not self.is_http10:
            self.cork()
            splice_response(self.process.scratch, head, &none, b"", b"", b"")
            self.flush()

    cdef void reply(self, int fault, int64_t retry_after_s) noexcept:
        cdef bint is_head = self.exchange is not None and self.exchange.request.method == METHOD_HEAD
        cdef bytes lines = None
        if self.exchange is not None:
            lines = self.exchange.reply_lines
        if self.stream is None or not has_reply(fault):
            self.keep_alive = False
            return
        if closes(fault) or self.state == READ_BODY or self.is_last():
            self.keep_alive = False
        self.cork()
        begin_reply(self.process, fault, retry_after_s)
        self.add_connection_line()
        end_reply(self.process, fault, lines, is_head)
        self.sending = BODY_NONE
        self.flush()

    cdef void answer(self, bytes head, bytes body) noexcept:
        cdef Scratch out = self.process.scratch
        if self.stream is None:
            self.keep_alive = False
            return
        if self.state == READ_BODY or self.is_last():
            self.keep_alive = False
        self.cork()
        out.add_bytes(head)
        out.add_bytes(self.process.date_line)
        self.add_connection_line()
        out.add(b"\r\n", 2)
        if self.exchange.request.method != METHOD_HEAD:
            out.add_bytes(body)
        self.sending = BODY_NONE
        self.flush()

    cdef void resume(self) noexcept:
        if self.state == READ_BODY and self.is_held:
            self.set_deadline(self.body_deadline())     # it could not be heard until now
        self.set_pauses(False, self.is_full)

    cdef int read_on(self) except -1:
        """What came behind the head that has opened the tunnel."""
        return self.read() if self.input is not None else 0

    # hot
    cdef void release(self) noexcept:
        """The exchange is over: the next request, or the end of the connection."""
        cdef bint is_complete = self.state == AWAIT_END or self.state == TUNNEL
        self.exchange = None
        if self.state == CLOSED:
            return
        if self.keep_alive and is_complete and not self.listener.is_leaving:
            self.await_next()
        elif is_complete and self.input is None:
            self.close()
        else:
            self.linger()

    # hot
    cdef void await_next(self) noexcept:
        self.state = READ_HEAD
        self.quiet_since_ns = self.wheel.now_ns
        self.set_pauses(False, False)
        self.set_deadline(self.wheel.now_ns + self.listener.idle_ns)
        if self.input is not None or self.saw_eof:
            self.read_held()
