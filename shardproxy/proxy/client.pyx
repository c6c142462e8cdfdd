"""A client's connection as such: counted in, paused, lingering, closed.  What HTTP makes of its bytes is downstream.pyx.

Closing lingers (RFC 9112 §9.6) when the client may still be sending: a close with unread bytes would make the kernel send
a reset, which can overtake our last answer.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcpy

from shardproxy.http1.faults cimport Fault
from shardproxy.http1.forwarding cimport Ip, read_ip
from shardproxy.http1.proxy_protocol cimport destination_text, proxy_header
from shardproxy.shm.addresses cimport ADDRESS_REFUSED, ADDRESS_UNCOUNTED, address_enter, address_leave
from shardproxy.shm.debug cimport CLIENTS, born, gone
from shardproxy.shm.gauges cimport gauge_add, gauge_reserve
from shardproxy.shm.metrics cimport count
from .boundary cimport report
from .exchange cimport QUEUED
from .runtime cimport UNLIMITED

cdef enum:
    LINGER_BYTES = 1 << 20
    LINGER_NS = 2_000_000_000
    CLOSING_NS = 10_000_000_000     # for the client to read what it was sent

cdef class Client(Connection):

    def __init__(self, Process process not None, ListenerRuntime listener not None):
        self.belong_to(process, listener)

    cdef void belong_to(self, Process process, ListenerRuntime listener) noexcept:
        self.process = process
        self.wheel = process.wheel
        self.listener = listener
        self.written = process.slots.bytes_out
        self.ticket = ADDRESS_UNCOUNTED

    @classmethod
    def admitted(cls, Process process not None, ListenerRuntime listener not None):
        """For a connection that has its place in the listener's gauge already."""
        cdef Client client = cls(process, listener)
        client.is_counted = True
        return client

    def __repr__(self):
        names = ("new", "awaiting a PROXY header", "reading a head", "reading a body", "awaiting a response", "a tunnel",
                 "lingering", "closed")
        return f"<{type(self).__name__} {self.peer.decode()} {names[<int>self.state]}>"

    # Life of the connection ----------------------------------------------------------------------------------------

    cdef int opened(self, Stream stream) except -1:
        born(CLIENTS)
        self.stream = stream
        self.peer = stream.peer_host() or b"unknown"
        self.process.clients.add(self)
        count(self.process.cells, self.listener.accepted, 1)
        self.quiet_since_ns = self.wheel.now_ns
        self.set_deadline(self.wheel.now_ns + self.listener.request_head_ns)
        return self.begin()

    cdef int admit(self) noexcept:
        """Count in, unless the listener has as many connections as allowed, over all workers; OK or a fault."""
        if self.is_counted:
            return Fault.OK
        if self.listener.connections_cap == UNLIMITED:
            gauge_add(self.process.gauge_cells, self.listener.connections, 1)
            self.is_counted = True
        else:
            self.is_counted = gauge_reserve(self.process.gauge_cells, self.listener.connections,
                                            self.listener.connections_cap)
        return Fault.OK if self.is_counted else Fault.OVERFLOW

    cdef int admit_address(self) noexcept:
        """Count in among those of the same address, unless they are as many as allowed; OK or a fault.

        IPv6 clients are told apart by their /64, since one of them has all of it."""
        cdef unsigned char[12] key
        cdef Ip ip
        if self.listener.per_client_cap == UNLIMITED or not read_ip(PyBytes_AS_STRING(self.peer), PyBytes_GET_SIZE(self.peer), &ip):
            return Fault.OK
        memcpy(key, &self.listener.connections, 4)
        memcpy(key + 4, ip.octets, 8)
        self.ticket = address_enter(self.process.address_table, key, 8 if ip.bits == 32 else 12,
                                    self.listener.per_client_cap)
        return Fault.TOO_MANY_FROM_ADDRESS if self.ticket == ADDRESS_REFUSED else Fault.OK

    cdef bytes announce(self, int version):
        """Who the client is and whom it wanted to reach: as it was told to us, otherwise the ends of our connection."""
        cdef ProxyHeader* said = &self.announced
        if said.family:
            return proxy_header(version, self.peer, said.source_port, destination_text(said), said.destination_port)
        theirs = self.stream.peer_name()
        if not theirs:
            return proxy_header(version, b"unknown", 0, b"unknown", 0)
        ours = self.stream.own_name()
        return proxy_header(version, self.peer, theirs[1], ours[0].encode(), ours[1])

    cdef int lost(self) except -1:
        cdef Exchange exchange = self.exchange
        gone(CLIENTS)
        self.state = CLOSED
        self.exchange = None
        self.stop_timer()
        if self.is_counted:
            self.is_counted = False
            gauge_add(self.process.gauge_cells, self.listener.connections, -1)
        address_leave(self.process.address_table, self.ticket)
        self.ticket = ADDRESS_UNCOUNTED
        self.part()
        if exchange is not None:
            exchange.client_lost()
        self.process.clients.discard(self)
        return 0

    cdef bint ended(self) except -1:
        """The client sends no more.  After a complete request it may still be waiting for the answer."""
        cdef Exchange exchange = self.exchange      # held while it is told something, since that may be its end
        self.saw_eof = True
        if self.state == READ_BODY:
            exchange.request_failed(Fault.TRUNCATED_REQUEST)
            return False
        if self.state == TUNNEL:
            exchange.client_eof()
            return self.state == TUNNEL
        if exchange is not None and exchange.state == QUEUED:
            return False    # nobody keeps a place in a queue for a client that has left, as far as that can be told
        return self.state == AWAIT_END

    cdef int timed_out(self) except -1:
        cdef Exchange exchange = self.exchange
        if self.state == READ_PROXY_HEADER:
            self.refuse(Fault.HEAD_TIMEOUT)
        elif self.state == READ_HEAD and (self.partial is not None or self.blank_lines):
            self.refuse(Fault.HEAD_TIMEOUT)
        elif self.state == READ_HEAD and not self.is_blocked and self.has_unread():
            self.set_deadline(self.wheel.now_ns + self.listener.request_head_ns)    # its head is served next
        elif self.state == READ_HEAD and not self.is_blocked:
            self.close()
        elif (self.state == READ_HEAD or self.state == CLOSED) and self.makes_progress():
            self.set_deadline(self.wheel.now_ns + self.listener.idle_ns)
        elif self.state == READ_BODY and self.is_held:
            self.set_deadline(self.wheel.now_ns + self.listener.request_body_ns)
        elif self.state == READ_BODY:
            exchange.request_failed(Fault.BODY_TIMEOUT)
        else:
            self.abort()
        return 0

    @property
    def is_idle(self):
        return self.state == READ_HEAD and self.partial is None and not self.is_blocked

    @property
    def listener_name(self):
        return self.listener.name

    def move_to(self, ListenerRuntime listener not None):
        """The next request is served by another configuration's listener; one under way keeps its own."""
        self.listener = listener

    def close_idle(self, int64_t quiet_ns):
        if self.is_idle and self.wheel.now_ns - self.quiet_since_ns >= quiet_ns and not self.has_unread():
            self.close()

    cdef bint has_unread(self) noexcept:
        """Has a request arrived that the loop has not come to yet?"""
        return self.stream is not None and self.stream.unread() > 0

    def cut(self):
        was_busy = self.exchange is not None
        self.abort()
        return was_busy

    # Flow ----------------------------------------------------------------------------------------------------------

    cdef void pause(self) noexcept:
        self.set_pauses(True, self.is_full)

    cdef void set_pauses(self, bint is_held, bint is_full) noexcept:
        """The client is read from only if neither the exchange nor the amount of pipelined bytes speaks against it."""
        cdef bint was_paused = self.is_held or self.is_full
        self.is_held, self.is_full = is_held, is_full
        if (is_held or is_full) != was_paused and self.stream is not None and self.state != CLOSED:
            if was_paused:
                self.stream.resume()
            else:
                self.stream.pause()

    cdef void blocked(self) noexcept:
        cdef Exchange exchange = self.exchange
        self.is_blocked = True
        if exchange is not None:
            exchange.client_blocked()

    cdef int writable(self) except -1:
        cdef Exchange exchange = self.exchange
        self.is_blocked = False
        self.outstanding = 0
        if exchange is not None:
            exchange.client_writable()
        elif self.state == READ_HEAD:
            self.set_pauses(False, False)
            self.read()
        return 0

    # Endings -------------------------------------------------------------------------------------------------------

    cdef void reset(self, int fault) noexcept:
        """The response is broken off, and has to look like it."""
        self.flush()
        self.abort()

    cdef bint makes_progress(self) noexcept:
        """Has the client acknowledged bytes since this was last asked?  A slow reader is not a dead one, and with
        large socket buffers it takes long until the stream notices; so the kernel is asked (SIOCOUTQ)."""
        cdef int64_t before = self.outstanding
        if self.stream is None:
            return False
        self.outstanding = self.stream.unsent()
        return before == 0 or self.outstanding < before

    cdef int begin(self) except -1:
        return 0

    cdef int read(self) except -1:
        return 0

    # boundary
    cdef void read_held(self) noexcept:
        """What the client has sent already, of requests to come."""
        try:
            self.read()
        except BaseException as error:
            self.crashed(report(error, self))

    cdef void refuse(self, int fault) noexcept:
        pass

    cdef void linger(self) noexcept:
        """Say that nothing more comes, and read over what the client is still sending, within bounds."""
        if self.stream is None or self.saw_eof:
            self.close()
            return
        self.state = LINGER
        self.input = self.partial = None
        self.linger_left = LINGER_BYTES
        self.set_pauses(False, False)
        self.set_deadline(self.wheel.now_ns + LINGER_NS)
        self.stream.end_writing()

    cdef void close(self) noexcept:
        """Close when all is written; a client that does not read it is not waited for for ever."""
        if self.state != CLOSED and self.stream is not None:
            self.state = CLOSED
            self.set_deadline(self.wheel.now_ns + CLOSING_NS)
            self.stream.close()

    cdef void abort(self) noexcept:
        """Close at once, with a reset: a body that ends with the connection would look complete otherwise."""
        self.state = CLOSED
        self.stop_timer()
        if self.stream is not None:
            self.stream.reset()
