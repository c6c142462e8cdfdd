"""The journey of one request.

    STARTING ──> DELAYED ──> QUEUED ──> AWAITING_ORIGIN ──> AWAITING_RESPONSE ──> RESPONDING ──> OVER
       │  limits     cluster full   endpoint taken  ^  connected   │   │  response head
       │                                            └──────────────┘   └──> TUNNELLING ──> OVER   (101, CONNECT)
       │                                            stale connection
       └─ 404 429 503 ──> OVER         BACKING_OFF: a try has failed, the next one comes

`NEXT` is the table of what may follow what.  finish() is the only exit and runs once, whatever happened.  `refuse` answers
in our own name, which is possible while nothing of a response has gone out; after that the only honest thing is to cut the
client's connection.

Whatever comes from an origin says from which one.  What another says than the one that is awaited or has the request is
ignored and counted: it was given up, and must not answer.  An endpoint's slot is held from `take` to `give_endpoint_back`,
exactly in the states of `HOLDING`.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM

from shardproxy.balancing.cluster cimport FULL
from shardproxy.balancing.runs cimport UNREACHED
from shardproxy.http1.faults cimport Fault
from shardproxy.http1.framing cimport BODY_NONE, BODY_TUNNEL
from shardproxy.http1.head cimport give_head
from shardproxy.http1.names cimport METHOD_CONNECT, is_idempotent
from shardproxy.shm.clock cimport now_ns
from shardproxy.shm.debug cimport EXCHANGES, SP_DEBUG, born, gone, must
from shardproxy.shm.metrics cimport count, observe_ns
from libc.string cimport memcpy
from .boundary cimport report
from .finding cimport find_route
from .introduction cimport introduce, normalized
from .process cimport REQUEST_ID_LENGTH
from .shedding cimport is_shed

cdef enum:
    NONE_CHOSEN = -1
    OVERFLOW_RETRY_S = 1
    STATES = OVER + 1

STATE_NAMES = ("starting", "delayed", "queued", "awaiting an origin", "awaiting a response", "backing off", "responding",
               "tunnelling", "over")

cdef int[STATES] NEXT
NEXT[<int>STARTING] = 1 << DELAYED | 1 << QUEUED | 1 << AWAITING_ORIGIN | 1 << OVER
NEXT[<int>DELAYED] = 1 << QUEUED | 1 << AWAITING_ORIGIN | 1 << OVER
NEXT[<int>QUEUED] = 1 << AWAITING_ORIGIN | 1 << AWAITING_RESPONSE | 1 << OVER
NEXT[<int>AWAITING_ORIGIN] = (1 << QUEUED | 1 << AWAITING_ORIGIN | 1 << AWAITING_RESPONSE | 1 << BACKING_OFF | 1 << TUNNELLING
                         | 1 << OVER)
NEXT[<int>AWAITING_RESPONSE] = (1 << AWAITING_ORIGIN | 1 << AWAITING_RESPONSE | 1 << BACKING_OFF | 1 << RESPONDING
                           | 1 << TUNNELLING | 1 << OVER)
NEXT[<int>BACKING_OFF] = 1 << QUEUED | 1 << AWAITING_ORIGIN | 1 << OVER
NEXT[<int>RESPONDING] = 1 << OVER
NEXT[<int>TUNNELLING] = 1 << OVER
NEXT[<int>OVER] = 0

cdef int HOLDING = 1 << AWAITING_ORIGIN | 1 << AWAITING_RESPONSE | 1 << RESPONDING | 1 << TUNNELLING
cdef int HAVING_ORIGIN = 1 << AWAITING_RESPONSE | 1 << RESPONDING | 1 << TUNNELLING


cdef inline bint is_endpoints(int fault) noexcept:
    """Is it the endpoint's doing?  What we lack ourselves, or do wrong, is never held against it."""
    return fault != Fault.OVERFLOW and fault != Fault.NO_RESOURCES and fault != Fault.INTERNAL_ERROR


@cython.final
@cython.freelist(256)
cdef class Exchange:

    def __cinit__(self):
        self.endpoint = NONE_CHOSEN

    def __repr__(self):
        return f"<Exchange {STATE_NAMES[<int>self.state]} endpoint={self.endpoint}>"

    # hot
    cdef void enter(self, ExchangeState state) noexcept:
        must(NEXT[<int>self.state] >> state & 1, b"an exchange changes its state only as the table says")
        self.state = state

    cdef void check(self) noexcept:
        """What has to be true between two callbacks; in debug builds only."""
        cdef int bit = 1 << self.state
        if not SP_DEBUG:
            return
        must((self.endpoint >= 0) == (bit & HOLDING != 0), b"an endpoint's slot is held in exactly the states of HOLDING")
        must(self.cluster is None or self.endpoint < self.cluster.balancing.count, b"an endpoint's number is in range")
        must((self.awaited is not None) == (self.state == AWAITING_ORIGIN), b"an origin is awaited in AWAITING_ORIGIN only")
        must(self.origin is None or bit & HAVING_ORIGIN, b"an exchange has an origin only after it has asked")
        must(self.origin is not None or self.state != AWAITING_RESPONSE, b"somebody has the request that is to be answered")
        must((self.place is not None) == (self.state == QUEUED), b"an exchange has a place in a queue exactly while it waits")
        must((self.client is None) == (self.state == OVER), b"an exchange has a client until it is over")

    # From the client -----------------------------------------------------------------------------------------------

    # hot, boundary
    cdef void begin(self, Process process, ListenerRuntime listener, End client, bytes peer, Head request,
                    const Framing* framing) noexcept:
        """The head is there, framed and valid."""
        self.process, self.listener, self.client, self.peer = process, listener, client, peer
        self.request, self.framing = request, framing[0]
        self.started_ns = now_ns()
        self.idle_ns = listener.stream_idle_ns
        self.is_request_done = framing.kind == BODY_NONE
        born(EXCHANGES)
        count(process.cells, process.slots.requests, 1)
        try:  # warm: a few loads and stores
            self.find_way()
        except BaseException as error:  # warm: when something has raised
            self.crash(report(error, self))  # warm: when something has raised
        self.check()

    # hot
    cdef int find_way(self) except -1:
        cdef int fault = Fault.OK
        if self.listener.normalizes_paths:
            self.path = normalized(self.request, self.listener, &self.additions, &fault)
        if fault == Fault.OK:
            self.route = find_route(self.request, self.path, self.peer, self.listener, self.framing.kind, &fault)
        if fault != Fault.OK:
            self.refuse(fault, 0)
            return 0
        self.cluster = self.route.cluster
        if self.route.bandwidth is not None:
            self.route.bandwidth.begin(self)
        if self.route.gate is None or self.route.gate.admit(self):
            self.proceed()
        return 0

    cdef void delay(self, object delayed) noexcept:
        """Its gate lets it through later: admitted() follows."""
        self.delayed = delayed
        self.enter(DELAYED)
        if not self.is_request_done:
            self.client.pause()

    cdef int admitted(self) except -1:
        self.delayed = None
        if self.state == DELAYED:
            self.proceed()
            self.flush_origin()
        return 0

    # hot
    cdef int proceed(self) except -1:
        if self.route.action is not None and not self.route.action.begin(self):
            return 0
        if self.route.retry is not None:
            self.retrier = self.route.retry.begin(self)  # warm: only where the route has one
        introduce(self.process, self.listener, self.route, self.request, self.framing.kind == BODY_NONE, self.peer,
                  self.request_id, &self.additions)
        if self.route.action is not None:
            self.route.action.edit_request(self)
        return self.choose_origin()

    # hot
    cdef int choose_origin(self) except -1:
        """An endpoint for this try, now or, if the cluster has a queue and all are full or others wait already, in turn."""
        cdef int endpoint = FULL
        if is_shed(self.process, self.cluster, self.route, self.request):
            self.refuse(Fault.SHED, OVERFLOW_RETRY_S)
            return 0
        if self.cluster.queue is None or not self.cluster.queue.is_busy():
            endpoint = self.pick()
        if endpoint >= 0:
            self.take(endpoint)
        elif endpoint != FULL:
            self.refuse(Fault.NO_ENDPOINT, OVERFLOW_RETRY_S)
        elif self.cluster.queue is None or not self.cluster.queue.enter(self):
            self.refuse(Fault.OVERFLOW, OVERFLOW_RETRY_S)
        return 0

    # hot
    cdef int pick(self) except? -2:
        """With its slot taken; below 0, as the cluster says: none."""
        if self.route.hashing is not None:
            return self.route.hashing.pick(self)
        return (self.cluster.balancing.choose() if self.retrier is None
                else self.cluster.balancing.choose_except(self.retrier.tried))

    # hot
    cdef int take(self, int endpoint) except -1:
        """Ask the endpoint whose slot has just been taken."""
        must(0 <= endpoint < self.cluster.balancing.count, b"an endpoint's number is in range")
        must(self.endpoint == NONE_CHOSEN, b"an exchange holds one slot at a time")
        self.endpoint = endpoint
        return self.ask(<Source>PyList_GET_ITEM(self.cluster.sources, endpoint), self.request.method == METHOD_CONNECT)

    # hot
    cdef int ask(self, Source source, bint fresh) except -1:
        """Get a connection; while there is none the client is not read from, so that what is held stays small."""
        cdef int fault = Fault.OK
        cdef End origin
        self.enter(AWAITING_ORIGIN)
        origin = source.connect(self, &fault) if fresh else source.take(self, &fault)
        if origin is None:
            return self.no_origin(fault)
        self.awaited = origin
        if origin.is_open:
            return self.origin_ready(origin)
        if not self.is_request_done:
            self.client.pause()
        return 0

    # hot
    cdef void flush_origin(self) noexcept:
        if self.origin is not None:
            self.origin.flush()

    # hot
    cdef int request_body(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1:
        if self.upload is not None and self.upload.hold(data, at, size):
            return 0
        return self.pass_request_body(data, at, size)

    # hot
    cdef int pass_request_body(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1:
        self.request_bytes += size
        if self.copy is not None:
            self.copy.keep(data, at, size)
        if self.origin is not None:
            if self.retrier is not None:
                self.retrier.keep(data, at, size)
            self.origin.send_body(data, at, size)
        elif self.state != OVER:
            self.hold(data, at, size)
        return 0

    cdef int hold(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1:
        """Until there is a connection; the client is paused, so this is what one read brought."""
        if self.held is None:
            self.held = []
        self.held.append((data, at, size))
        return 0

    cdef int send_held(self) except -1:
        for data, at, size in self.held:
            if self.retrier is not None:
                self.retrier.keep(data, at, size)
            self.origin.send_body(data, at, size)
        self.held = None
        return 0

    cdef int request_end(self) except -1:
        if self.upload is not None and self.upload.hold_end(False):
            return 0
        return self.end_request()

    cdef int end_request(self) except -1:
        self.is_request_done = True
        if self.copy is not None:
            self.copy.complete()
        if self.retrier is not None:
            self.retrier.request_ended()
        if self.origin is not None:
            self.origin.finish()
        elif self.state == QUEUED:
            self.client.resume()    # so that its leaving is seen
        return 0

    cdef void request_failed(self, int fault) noexcept:
        """The client's message is broken or late."""
        if self.state != OVER:
            self.drop_origin(fault)
            self.refuse(fault, 0)

    cdef int client_eof(self) except -1:
        """The client's half of the tunnel is closed."""
        if self.upload is not None and self.upload.hold_end(True):
            return 0
        return self.end_upload_half()

    cdef int end_upload_half(self) noexcept:
        self.is_client_done = True
        if self.is_origin_done:
            self.finish(Fault.OK)
        elif self.origin is not None:
            self.origin.half_close()
        return 0

    cdef void client_lost(self) noexcept:
        if self.state == OVER:
            return
        count(self.process.cells, self.process.slots.client_aborts, 1)
        self.drop_origin(Fault.CLIENT_GONE)
        self.finish(Fault.CLIENT_GONE)

    cdef void client_blocked(self) noexcept:
        self.is_client_blocked = True
        if self.origin is not None:
            self.origin.pause()

    cdef int client_writable(self) except -1:
        self.is_client_blocked = False
        if (self.download is None or self.download.go_on()) and self.origin is not None:
            self.origin.resume()
        return 0

    # hot
    cdef void flush_client(self) noexcept:
        if self.client is not None:
            self.client.flush()

    # From the origin -----------------------------------------------------------------------------------------------

    cdef int ignore(self, End who) noexcept:
        """It was given up, or is somebody else's: it is not heard, and is to stop."""
        count(self.process.cells, self.process.slots.strays, 1)
        who.reset(Fault.OK)
        return 0

    # hot
    cdef int origin_ready(self, End who) except -1:
        if who is not self.awaited:
            return self.ignore(who)
        self.awaited, self.origin = None, who
        self.sent_ns = now_ns()
        if self.request.method == METHOD_CONNECT:
            self.open_tunnel()
        else:
            self.send_request()
        if self.is_client_blocked and self.origin is not None:
            self.origin.pause()
        return 0

    cdef int open_tunnel(self) except -1:
        self.enter(TUNNELLING)
        self.status = 200
        self.idle_ns = self.listener.tunnel_idle_ns
        self.origin.open_tunnel()
        self.client.open_tunnel()
        return self.client.read_on()

    # hot
    cdef int send_request(self) except -1:
        self.enter(AWAITING_RESPONSE)
        self.origin.send_head(self.request, &self.framing)
        if self.held is not None:
            self.send_held()
        if self.is_request_done:
            self.origin.finish()
            if self.route.hedge is not None and self.hedger is None:
                self.hedger = self.route.hedge.begin(self)  # warm: only where the route has one
        elif self.upload is None or self.upload.go_on():
            self.client.resume()
        return 0

    # boundary
    cdef void origin_failed(self, End who, int fault) noexcept:
        """The connection that was awaited cannot be had.  It knows of no exchange any more, so what fails here ends here."""
        if who is not self.awaited:
            self.ignore(who)
            return
        self.awaited = None
        try:
            self.no_origin(fault)
        except BaseException as error:
            self.crash(report(error, self))

    cdef int no_origin(self, int fault) except -1:
        """No connection to the endpoint."""
        if is_endpoints(fault):
            count(self.process.cells, self.cluster.slots[self.endpoint].unreached, 1)
            self.note_failure()
        if self.hedger is not None and self.hedger.try_failed(self):
            return 0
        if fault == Fault.OVERFLOW and self.cluster.queue is not None:
            return self.wait_for_connection()
        if self.retrier is None or not self.retrier.after_fault(fault):
            self.refuse(fault, 0 if is_endpoints(fault) else OVERFLOW_RETRY_S)
        return 0

    cdef int wait_for_connection(self) except -1:
        """The cluster is at its max_connections: the place at the endpoint is for who has a connection."""
        self.leave_endpoint()
        if self.cluster.queue.enter(self):
            self.cluster.queue.beg()
        else:
            self.refuse(Fault.OVERFLOW, OVERFLOW_RETRY_S)
        return 0

    cdef int interim_head(self, End who, Head head) except -1:
        if who is not self.origin:
            return self.ignore(who)
        if self.hedger is not None and self.hedger.interim_came(self):
            return 0
        if self.retrier is not None:
            self.retrier.settle()
        self.client.send_interim(head)
        return 0

    # hot
    cdef int response_head(self, End who, Head head, const Framing* framing) except -1:
        if who is not self.origin:
            return self.ignore(who)
        if self.hedger is not None and self.hedger.head_came(self, head, framing):
            return 0
        if head.status >= 500:
            count(self.process.cells, self.cluster.slots[self.endpoint].errors, 1)
            self.tell_time(True)
        if self.cluster.runs is not None:
            self.cluster.runs.note(self.endpoint, head.status)
        if self.retrier is not None and self.retrier.after_head(head):
            return 0
        if self.route.action is not None:
            self.route.action.edit_response(self, head)
        self.enter(TUNNELLING if framing.kind == BODY_TUNNEL else RESPONDING)
        self.status = head.status
        if not self.is_shadow:
            count(self.process.cells, self.process.slots.responses[min(head.status // 100, 5)], 1)
        self.client.send_head(head, framing)
        if framing.kind == BODY_TUNNEL:
            self.idle_ns = self.listener.tunnel_idle_ns
            self.client.flush()
            self.client.resume()
            self.client.read_on()
        return 0

    # hot
    cdef int response_body(self, End who, bytes data, Py_ssize_t at, Py_ssize_t size) except -1:
        if who is not self.origin:
            return self.ignore(who)
        if self.download is not None and self.download.hold(data, at, size):
            return 0
        return self.pass_response_body(data, at, size)

    # hot
    cdef int pass_response_body(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1:
        self.response_bytes += size
        self.client.send_body(data, at, size)
        return 0

    cdef int response_trailers(self, End who, bytes data, Py_ssize_t at, Py_ssize_t size) except -1:
        """They go on only to a client that said `TE: trailers` (RFC 9110 §6.5.1)."""
        if who is not self.origin:
            return self.ignore(who)
        if self.request.wants_trailers:
            self.client.keep_trailers(data, at, size)
        return 0

    # hot
    cdef int response_end(self, End who) except -1:
        if who is not self.origin:
            return self.ignore(who)
        if self.download is not None and self.download.hold_end(False):
            return 0
        return self.end_response(0)

    # hot
    cdef int end_response(self, int64_t waited_ns) noexcept:
        """`waited_ns`: for how long we ourselves have held it back, which is not the endpoint's time."""
        self.sent_ns += waited_ns
        self.client.finish()
        observe_ns(self.process.cells, self.cluster.slots[self.endpoint].time, now_ns() - self.sent_ns)
        self.tell_time(False)
        self.finish(Fault.OK)
        return 0

    cdef int origin_eof(self, End who) except -1:
        """The endpoint's half of the tunnel is closed."""
        if who is not self.origin:
            return self.ignore(who)
        if self.download is not None and self.download.hold_end(True):
            return 0
        return self.end_download_half()

    cdef int end_download_half(self) noexcept:
        self.is_origin_done = True
        if self.is_client_done:
            self.finish(Fault.OK)
        else:
            self.client.half_close()
        return 0

    # boundary
    cdef void origin_lost(self, End who, int fault) noexcept:
        """The endpoint closed, broke the protocol, or was too slow; it has been closed already, and knows of no exchange
        any more, so what fails here ends here."""
        if who is self.awaited:
            self.origin_failed(who, fault)
            return
        if who is not self.origin:
            self.ignore(who)
            return
        self.origin = None
        try:
            self.lose_origin(fault)
        except BaseException as error:
            self.crash(report(error, self))

    cdef int lose_origin(self, int fault) except -1:
        if self.download is not None and self.download.is_ending:
            return 0
        if fault == Fault.STALE_CONNECTION and self.can_resend():
            self.is_resent = True
            return self.ask(<Source>PyList_GET_ITEM(self.cluster.sources, self.endpoint), True)
        if is_endpoints(fault):
            count(self.process.cells, self.cluster.slots[self.endpoint].failures, 1)
            self.note_failure()
        if self.hedger is not None and self.hedger.try_failed(self):
            return 0
        if self.retrier is None or not self.retrier.after_fault(fault):
            self.refuse(fault, 0)
        return 0

    cdef bint can_resend(self) noexcept:
        """Once, on a fresh connection, if sending twice does no harm (RFC 9110 §9.2.2).  STALE_CONNECTION is only said of
        one that had been idle, which the endpoint closed at the same moment."""
        return (not self.is_resent and self.state == AWAITING_RESPONSE and self.framing.kind == BODY_NONE
                and is_idempotent(self.request.method))

    cdef void origin_blocked(self, End who) noexcept:
        if who is not self.origin:
            self.ignore(who)
            return
        self.client.pause()
        if self.upload is not None:
            self.upload.is_blocked = True

    cdef int origin_writable(self, End who) except -1:
        if who is not self.origin:
            return self.ignore(who)
        if self.upload is None or self.upload.go_on():
            self.client.resume()
        return 0

    # hot
    cdef void tell_time(self, bint failed) noexcept:
        if self.cluster.balancing.wants_times:
            self.cluster.balancing.observe(self.endpoint, now_ns() - self.sent_ns if self.sent_ns else 0, failed)

    cdef void note_failure(self) noexcept:
        """The endpoint has given no answer."""
        self.tell_time(True)
        if self.cluster.runs is not None:
            self.cluster.runs.note(self.endpoint, UNREACHED)

    # From its policies ---------------------------------------------------------------------------------------------

    cdef int begin_beside(self, Exchange first, Hedger hedger, int endpoint) except -1:
        """The second try of a request; what it points to belongs to the first, which outlives it."""
        self.process, self.listener, self.route = first.process, first.listener, first.route
        self.cluster, self.client, self.peer = first.cluster, first.client, first.peer
        self.request, self.framing, self.additions = first.request, first.framing, first.additions
        self.started_ns, self.idle_ns = first.started_ns, first.idle_ns
        self.is_request_done, self.is_second = True, True
        self.hedger = hedger
        born(EXCHANGES)
        self.take(endpoint)
        self.flush_origin()
        return 0

    cdef int begin_shadow(self, Exchange original, RouteRuntime route, End client, Head request, const Framing* framing,
                          bytes body, bytes host) except -1:
        """A copy of `original` for another cluster, whose answer nobody waits for."""
        self.process, self.listener, self.client = original.process, original.listener, client
        self.peer, self.request, self.path = original.peer, request, original.path
        self.route, self.cluster, self.framing = route, route.cluster, framing[0]
        self.started_ns, self.idle_ns = now_ns(), original.listener.stream_idle_ns
        self.is_request_done = self.is_shadow = True
        born(EXCHANGES)
        if body:
            self.hold(body, 0, len(body))
        introduce(self.process, self.listener, self.route, request, False, self.peer, self.request_id, &self.additions)
        memcpy(self.request_id, original.request_id, REQUEST_ID_LENGTH)
        if self.path is not None:
            self.set_path(self.path)
        self.request_lines = host
        self.set_host(host)
        self.choose_origin()
        self.flush_origin()
        return 0

    cdef void wait_at(self, Timed place) noexcept:
        """It has its place in the cluster's queue."""
        self.place = place
        self.enter(QUEUED)
        if not self.is_request_done:
            self.client.pause()

    cdef void leave_place(self) noexcept:
        self.place = None

    cdef void back_off(self) noexcept:
        """The try is given up; choose_origin() follows later.  Its slot is free meanwhile."""
        self.leave_endpoint()
        self.enter(BACKING_OFF)
        if not self.is_request_done:
            self.client.pause()

    cdef int rewind(self, tuple sent) except -1:
        """This much of the body was sent, and is to be sent again, before what came since."""
        self.held = [sent] if self.held is None else [sent, *self.held]
        return 0

    cdef void take_over(self, Exchange other, int64_t deadline) noexcept:
        """Go on with the try of `other`: its endpoint, its slot, its connection.  Those of this one are given up."""
        self.leave_endpoint()
        if self.place is not None:
            self.cluster.queue.leave(self.place)
        self.origin, self.awaited, self.endpoint, self.sent_ns = other.origin, other.awaited, other.endpoint, other.sent_ns
        other.origin, other.awaited, other.endpoint, other.sent_ns = None, None, NONE_CHOSEN, 0
        if self.origin is None:
            self.enter(AWAITING_ORIGIN)
            self.awaited.change_exchange(self, 0)
            return
        self.enter(AWAITING_RESPONSE)
        self.origin.change_exchange(self, deadline)
        if self.is_client_blocked:
            self.origin.pause()

    cdef void abandon(self) noexcept:
        """A second try that has lost, failed, or given all that it had to the first."""
        cdef End client = self.client
        if self.state == OVER:
            return
        self.leave_endpoint()
        self.enter(OVER)
        gone(EXCHANGES)
        self.request = self.client = self.hedger = None
        client.resume()     # in case its endpoint did not take the request

    cdef void answer_locally(self, int status, bytes head, bytes body) noexcept:
        """What the route says is the response; no endpoint is asked."""
        self.status = status
        count(self.process.cells, self.process.slots.responses[min(status // 100, 5)], 1)
        self.client.answer(head, body)
        self.finish(Fault.OK)

    cdef void record_for(self, Copy copy) noexcept:
        self.copy = copy

    cdef void limit_bandwidth(self, Pace upload, Pace download) noexcept:
        self.upload, self.download = upload, download

    cdef void lead_to(self, ClusterRuntime cluster) noexcept:
        self.cluster = cluster

    cdef void set_path(self, bytes path) noexcept:
        """What the endpoint is asked for in place of the request's own; the query goes on as it came."""
        self.path = path
        self.additions.path, self.additions.path_len = PyBytes_AS_STRING(path), PyBytes_GET_SIZE(path)

    cdef void set_host(self, bytes host) noexcept:
        """`host` has to live as long as the exchange."""
        self.additions.host, self.additions.host_len = PyBytes_AS_STRING(host), PyBytes_GET_SIZE(host)

    cdef void set_request_lines(self, bytes lines) noexcept:
        self.request_lines = lines
        self.additions.lines, self.additions.lines_len = PyBytes_AS_STRING(lines), PyBytes_GET_SIZE(lines)

    cdef void set_reply_lines(self, bytes lines) noexcept:
        self.reply_lines = lines

    cdef int add_response_lines(self, bytes lines) except -1:
        self.extra_lines = lines if self.extra_lines is None else self.extra_lines + lines
        return 0

    cdef void keep_hash_key(self, uint64_t key) noexcept:
        self.hash_key, self.has_hash_key = key, True

    # Endings -------------------------------------------------------------------------------------------------------

    cdef void leave_endpoint(self) noexcept:
        """The try there is over: its slot is free, and what it may still send is nobody's."""
        self.drop_origin(Fault.OK)
        if self.endpoint < 0:
            return
        if self.sent_ns:
            count(self.process.cells, self.cluster.slots[self.endpoint].requests, 1)
            self.sent_ns = 0
        self.give_endpoint_back()

    # hot
    cdef void give_endpoint_back(self) noexcept:
        must(0 <= self.endpoint < self.cluster.balancing.count, b"only a slot that is held is given back")
        self.cluster.balancing.release(self.endpoint)
        self.endpoint = NONE_CHOSEN
        if self.cluster.queue is not None:
            self.cluster.queue.freed(self)

    cdef void drop_origin(self, int fault) noexcept:
        """From here on it is not heard.  A connection that is being made is made, for the pool."""
        cdef End origin = self.origin, awaited = self.awaited
        self.origin = self.awaited = None
        if origin is not None:
            origin.reset(fault)
        if awaited is not None:
            awaited.reset(fault)

    cdef void crash(self, int fault) noexcept:
        """Python has raised in what was done for it: nobody knows how far that went, so it ends; if it has begun."""
        if self.state != OVER and self.client is not None:
            self.drop_origin(fault)
            self.refuse(fault, 0)

    cdef void refuse(self, int fault, int64_t retry_after_s) noexcept:
        """Answer in our own name, or cut if a response is on its way already."""
        if self.state == OVER:
            return
        if self.is_second:
            self.hedger.try_failed(self)
            return
        if self.state >= RESPONDING:
            self.client.reset(fault)
        else:
            self.client.reply(fault, retry_after_s)
        self.finish(fault)

    # hot
    cdef void finish(self, int fault) noexcept:
        """The single exit: slot back, numbers written, ends released.  Runs once."""
        cdef End client = self.client, origin = self.origin, awaited = self.awaited
        cdef Exchange held = self   # the last reference to it may go on the way
        cdef ExchangeState last = self.state
        if last == OVER:
            return
        self.enter(OVER)
        self.account(fault, last)
        self.end_policies()
        give_head(self.request)
        self.request = self.held = self.client = self.origin = self.awaited = None
        if origin is not None:
            origin.release()
        elif awaited is not None:
            awaited.reset(fault)
        if self.endpoint >= 0:
            self.give_endpoint_back()
        elif self.place is not None:
            self.cluster.queue.leave(self.place)  # warm: only who still waits
        gone(EXCHANGES)
        self.check()
        client.release()

    # hot
    cdef void end_policies(self) noexcept:
        if self.retrier is not None:
            self.retrier.end()
        if self.copy is not None:
            self.copy.forget()
            self.copy = None
        if self.hedger is not None:
            self.hedger.end()
        if self.route is not None and self.route.is_guarded:
            self.route.leave(self)

    # hot
    cdef void account(self, int fault, ExchangeState last) noexcept:
        cdef Process process = self.process
        if last != TUNNELLING and not self.is_shadow:
            observe_ns(process.cells, process.slots.request_time, now_ns() - self.started_ns)
        if self.sent_ns and self.endpoint >= 0:
            count(process.cells, self.cluster.slots[self.endpoint].requests, 1)
        if self.is_shadow:
            return
        if fault != Fault.OK:
            count(process.cells, process.slots.faults[fault], 1)
        if self.listener.journal is not None and not self.is_second:
            self.listener.journal.note(self, fault)
