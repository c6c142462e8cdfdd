"""The journey of one request.

    begin ── route, limits, endpoint ──> origin_ready ──> request_body* ──> request_end
      │ 404 429 503                          │ 502 504                        (the client's side)
      v                                      v
    finish <── response_end <── response_body* <── response_head <── interim_head*
                                                                              (the origin's side)

finish() is the only exit and runs once, whatever happened.  `refuse` answers in our own name, which is possible while
nothing of a response has gone out; after that the only honest thing is to cut the client's connection.
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
from shardproxy.shm.metrics cimport count, observe_ns
from .finding cimport find_route
from .introduction cimport introduce, normalized
from .shedding cimport is_shed

cdef enum:
    NONE_CHOSEN = -1
    OVERFLOW_RETRY_S = 1


@cython.final
@cython.freelist(256)
cdef class Exchange:

    def __cinit__(self):
        self.endpoint = NONE_CHOSEN

    # From the client -----------------------------------------------------------------------------------------------

    # hot
    cdef void begin(self) noexcept:
        """The head is there, framed and valid; `client`, `request`, `framing` and `peer` are set."""
        cdef int fault = Fault.OK
        count(self.process.cells, self.process.slots.requests, 1)
        self.started_ns = now_ns()
        self.idle_ns = self.listener.stream_idle_ns
        self.is_request_done = self.framing.kind == BODY_NONE
        if self.listener.normalizes_paths:
            self.path = normalized(self.request, self.listener, &self.additions, &fault)
        if fault == Fault.OK:
            self.route = find_route(self.request, self.path, self.peer, self.listener, self.framing.kind, &fault)
        if fault != Fault.OK:
            self.refuse(fault, 0)
            return
        self.cluster = self.route.cluster
        if self.route.bandwidth is not None:
            self.route.bandwidth.begin(self)
        if self.route.gate is None or self.route.gate.admit(self):
            self.proceed()

    # hot
    cdef void proceed(self) noexcept:
        if self.route.action is not None and not self.route.action.begin(self):
            return
        if self.route.retry is not None:
            self.retrier = self.route.retry.begin(self)  # warm: only where the route has one
        introduce(self.process, self.listener, self.route, self.request, self.framing.kind == BODY_NONE, self.peer,
                  self.request_id, &self.additions)
        if self.route.action is not None:
            self.route.action.edit_request(self)
        self.choose_origin()

    # hot
    cdef void choose_origin(self) noexcept:
        """An endpoint for this try, now or, if the cluster has a queue and all are full or others wait already, in turn."""
        cdef int endpoint = FULL
        if is_shed(self.process, self.cluster, self.route, self.request):
            self.refuse(Fault.SHED, OVERFLOW_RETRY_S)
            return
        if self.cluster.queue is None or not self.cluster.queue.is_busy():
            endpoint = self.pick()
        if endpoint >= 0:
            self.take(endpoint)
        elif endpoint != FULL:
            self.refuse(Fault.NO_ENDPOINT, OVERFLOW_RETRY_S)
        elif self.cluster.queue is None or not self.cluster.queue.enter(self):
            self.refuse(Fault.OVERFLOW, OVERFLOW_RETRY_S)

    # hot
    cdef int pick(self) noexcept:
        if self.route.hashing is not None:
            return self.route.hashing.pick(self)
        return (self.cluster.balancing.choose() if self.retrier is None
                else self.cluster.balancing.choose_except(self.retrier.tried))

    # hot
    cdef void take(self, int endpoint) noexcept:
        self.endpoint = endpoint
        self.ask(<Source>PyList_GET_ITEM(self.cluster.sources, endpoint), self.request.method == METHOD_CONNECT)

    # hot
    cdef void give_endpoint_back(self) noexcept:
        self.cluster.balancing.release(self.endpoint)
        self.endpoint = NONE_CHOSEN
        if self.cluster.queue is not None:
            self.cluster.queue.freed(self)

    # hot
    cdef void tell_time(self, bint failed) noexcept:
        if self.cluster.balancing.wants_times:
            self.cluster.balancing.observe(self.endpoint, now_ns() - self.sent_ns if self.is_sent else 0, failed)

    cdef void note_failure(self) noexcept:
        """The endpoint has given no answer."""
        self.tell_time(True)
        if self.cluster.runs is not None:
            self.cluster.runs.note(self.endpoint, UNREACHED)

    # hot
    cdef void ask(self, Source source, bint fresh) noexcept:
        """Get a connection; while there is none the client is not read from, so that what is held stays small."""
        cdef End origin = source.connect(self) if fresh else source.take(self)
        if origin is not None:
            self.origin_ready(origin)
        elif not self.is_over and not self.is_request_done:
            self.client.pause()

    # hot
    cdef void request_body(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
        if self.upload is not None and self.upload.hold(data, at, size):
            return
        self.request_bytes += size
        if self.copy is not None:
            self.copy.keep(data, at, size)
        if self.origin is not None:
            if self.retrier is not None:
                self.retrier.keep(data, at, size)
            self.origin.send_body(data, at, size)
        elif not self.is_over:
            self.hold(data, at, size)

    cdef void hold(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
        """Until there is a connection; the client is paused, so this is what one read brought."""
        if self.held is None:
            self.held = []
        self.held.append((data, at, size))

    cdef void send_held(self) noexcept:
        for data, at, size in self.held:
            if self.retrier is not None:
                self.retrier.keep(data, at, size)
            self.origin.send_body(data, at, size)
        self.held = None

    cdef void request_end(self) noexcept:
        if self.upload is not None and self.upload.hold_end(False):
            return
        self.is_request_done = True
        if self.copy is not None:
            self.copy.complete()
        if self.retrier is not None:
            self.retrier.request_ended()
        if self.origin is not None:
            self.origin.finish()
        elif self.place is not None:
            self.client.resume()    # so that its leaving is seen

    cdef void request_failed(self, int fault) noexcept:
        """The client's message is broken or late."""
        if self.is_over:
            return
        if self.origin is not None:
            self.origin.reset(fault)
            self.origin = None
        self.refuse(fault, 0)

    cdef void client_eof(self) noexcept:
        """The client's half of the tunnel is closed."""
        if self.upload is not None and self.upload.hold_end(True):
            return
        self.is_client_done = True
        if self.is_origin_done:
            self.finish(Fault.OK)
        elif self.origin is not None:
            self.origin.half_close()

    cdef void client_lost(self) noexcept:
        if self.is_over:
            return
        count(self.process.cells, self.process.slots.client_aborts, 1)
        if self.origin is not None:
            self.origin.reset(Fault.CLIENT_GONE)
            self.origin = None
        self.finish(Fault.CLIENT_GONE)

    cdef void client_blocked(self) noexcept:
        self.is_client_blocked = True
        if self.origin is not None:
            self.origin.pause()

    cdef void client_writable(self) noexcept:
        self.is_client_blocked = False
        if (self.download is None or self.download.go_on()) and self.origin is not None:
            self.origin.resume()

    # From the origin -----------------------------------------------------------------------------------------------

    # hot
    cdef void origin_ready(self, End origin) noexcept:
        self.origin = origin
        if self.request.method == METHOD_CONNECT:
            self.open_tunnel()
        else:
            self.send_request()
        if self.is_client_blocked:
            origin.pause()

    cdef void open_tunnel(self) noexcept:
        self.sent_ns = now_ns()
        self.is_sent = self.is_answered = self.is_tunnel = True
        self.status = 200
        self.idle_ns = self.listener.tunnel_idle_ns
        self.origin.open_tunnel()
        self.client.open_tunnel()

    # hot
    cdef void send_request(self) noexcept:
        self.sent_ns = now_ns()
        self.is_sent = True
        self.origin.send_head(self.request, &self.framing)
        if self.held is not None:
            self.send_held()
        if self.is_request_done:
            self.origin.finish()
            if self.route.hedge is not None and self.hedger is None:
                self.hedger = self.route.hedge.begin(self)  # warm: only where the route has one
        elif self.upload is None or self.upload.go_on():
            self.client.resume()

    cdef void origin_failed(self, int fault) noexcept:
        """No connection to the endpoint could be had."""
        if self.is_over:
            return
        if fault == Fault.OVERFLOW and self.cluster.queue is not None and self.cluster.queue.enter_again(self):
            return
        if fault != Fault.OVERFLOW:
            count(self.process.cells, self.cluster.slots[self.endpoint].unreached, 1)
            self.note_failure()
        if self.hedger is not None and self.hedger.try_failed(self):
            return
        if self.retrier is None or not self.retrier.after_fault(fault):
            self.refuse(fault, OVERFLOW_RETRY_S if fault == Fault.OVERFLOW else 0)

    cdef void interim_head(self, Head head) noexcept:
        if self.hedger is not None and self.hedger.interim_came(self):
            return
        if self.retrier is not None:
            self.retrier.settle()
        self.client.send_interim(head)

    # hot
    cdef void response_head(self, Head head, const Framing* framing) noexcept:
        if self.hedger is not None and self.hedger.head_came(self, head, framing):
            return
        if head.status >= 500:
            count(self.process.cells, self.cluster.slots[self.endpoint].errors, 1)
            self.tell_time(True)
        if self.cluster.runs is not None:
            self.cluster.runs.note(self.endpoint, head.status)
        if self.retrier is not None and self.retrier.after_head(head):
            return
        self.is_answered = True
        self.status = head.status
        if self.route.action is not None:
            self.route.action.edit_response(self, head)
        if not self.is_shadow:
            count(self.process.cells, self.process.slots.responses[min(head.status // 100, 5)], 1)
        self.client.send_head(head, framing)
        if framing.kind == BODY_TUNNEL:
            self.is_tunnel = True
            self.idle_ns = self.listener.tunnel_idle_ns
            self.client.flush()
            self.client.resume()

    # hot
    cdef void response_body(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
        if self.download is not None and self.download.hold(data, at, size):
            return
        self.response_bytes += size
        self.client.send_body(data, at, size)

    cdef void response_trailers(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
        """They go on only to who said `TE: trailers` (RFC 9110 §6.5.1)."""
        if self.request.wants_trailers:
            self.client.keep_trailers(data, at, size)

    # hot
    cdef void response_end(self) noexcept:
        if self.download is not None and self.download.hold_end(False):
            return
        self.client.finish()
        observe_ns(self.process.cells, self.cluster.slots[self.endpoint].time, now_ns() - self.sent_ns)
        self.tell_time(False)
        self.finish(Fault.OK)

    cdef void origin_eof(self) noexcept:
        """The endpoint's half of the tunnel is closed."""
        if self.download is not None and self.download.hold_end(True):
            return
        self.is_origin_done = True
        if self.is_client_done:
            self.finish(Fault.OK)
        else:
            self.client.half_close()

    cdef void origin_lost(self, int fault) noexcept:
        """The endpoint closed, broke the protocol, or was too slow; it has been closed already."""
        self.origin = None
        if self.is_over or (self.download is not None and self.download.is_ending):
            return
        if fault == Fault.STALE_CONNECTION and self.can_resend():
            self.is_resent = True
            self.ask(<Source>self.cluster.sources[self.endpoint], True)
            return
        count(self.process.cells, self.cluster.slots[self.endpoint].failures, 1)
        self.note_failure()
        if self.hedger is not None and self.hedger.try_failed(self):
            return
        if self.retrier is None or not self.retrier.after_fault(fault):
            self.refuse(fault, 0)

    cdef bint can_resend(self) noexcept:
        """Once, on a fresh connection, if sending twice does no harm (RFC 9110 §9.2.2).  STALE_CONNECTION is only said of
        one that had been idle, which the endpoint closed at the same moment."""
        return (not self.is_resent and not self.is_answered and self.framing.kind == BODY_NONE
                and is_idempotent(self.request.method))

    cdef void origin_blocked(self) noexcept:
        self.client.pause()
        if self.upload is not None:
            self.upload.is_blocked = True

    cdef void origin_writable(self) noexcept:
        if self.upload is None or self.upload.go_on():
            self.client.resume()

    # Endings -------------------------------------------------------------------------------------------------------

    cdef void refuse(self, int fault, int64_t retry_after_s) noexcept:
        """Answer in our own name, or cut if a response is on its way already."""
        if self.is_answered:
            self.client.reset(fault)
        else:
            self.is_answered = True
            self.client.reply(fault, retry_after_s)
        self.finish(fault)

    # hot
    cdef void finish(self, int fault) noexcept:
        """The single exit: slot back, numbers written, ends released.  Runs once."""
        cdef End client = self.client, origin = self.origin
        if self.is_over:
            return
        self.is_over = True
        self.account(fault)
        if self.retrier is not None:
            self.retrier.end()
        if self.copy is not None:
            self.copy.forget()
            self.copy = None
        if self.hedger is not None:
            self.hedger.end()
        if self.route is not None and self.route.is_guarded:
            self.route.leave(self)
        give_head(self.request)
        self.request = self.held = self.client = self.origin = None
        if origin is not None:
            origin.release()
        if self.endpoint >= 0:
            self.give_endpoint_back()
        elif self.place is not None:
            self.cluster.queue.leave(self.place)  # warm: only who still waits
        client.release()

    # hot
    cdef void account(self, int fault) noexcept:
        cdef Process process = self.process
        if not self.is_tunnel and not self.is_shadow:
            observe_ns(process.cells, process.slots.request_time, now_ns() - self.started_ns)
        if self.is_sent:
            count(process.cells, self.cluster.slots[self.endpoint].requests, 1)
        if self.is_shadow:
            return
        if fault != Fault.OK:
            count(process.cells, process.slots.faults[fault], 1)
        if self.listener.journal is not None and not self.is_second:
            self.listener.journal.note(self, fault)
