"""A mirror: what a route's requests would do to another cluster, without anybody depending on it.

A copy is sent once the request has come in whole, by an exchange of its own whose client is nobody: its answer is read and
forgotten, and whatever becomes of it is seen in the other cluster's numbers alone.  Bounded: copies under way in a worker,
and the body that is kept; what is beyond is not sent, and counted.
"""

from libc.string cimport memcpy

from cpython.bytes cimport PyBytes_AS_STRING

from shardproxy.http1.faults cimport Fault
from shardproxy.http1.framing cimport BODY_NONE, frame_request
from shardproxy.http1.head cimport give_head, take_head
from shardproxy.shm.clock cimport now_ns
from shardproxy.shm.metrics cimport count
from .introduction cimport introduce
from .process cimport REQUEST_ID_LENGTH

cdef enum:
    MOST_UNDER_WAY = 256
    MILLION = 1_000_000


cdef class Mirror:
    def __init__(self, RouteRuntime route not None, Metrics metrics not None, *, uint32_t millionths, Py_ssize_t max_body,
                 int sent, int dropped, uint64_t seed=1):
        self.route, self.metrics = route, metrics
        self.millionths, self.max_body, self.random = millionths, max_body, seed | 1
        self.sent, self.dropped = sent, dropped

    cdef void begin(self, Exchange exchange) noexcept:
        cdef MirrorCopy copy
        if not self.draws():
            return
        if self.under_way >= MOST_UNDER_WAY or exchange.request.says_upgrade:
            self.drop()
            return
        copy = MirrorCopy.__new__(MirrorCopy)
        copy.mirror, copy.original = self, exchange
        if exchange.framing.kind == BODY_NONE:
            copy.complete()
        else:
            exchange.copy = copy
            if exchange.held is not None:
                for data, at, size in exchange.held:
                    copy.keep(data, at, size)
            if exchange.is_request_done:
                copy.complete()

    cdef bint draws(self) noexcept:
        self.random ^= self.random >> 12
        self.random ^= self.random << 25
        self.random ^= self.random >> 27
        return ((self.random * <uint64_t>2685821657736338717) >> 11) % MILLION < self.millionths

    cdef void drop(self) noexcept:
        count(&self.metrics.cells, self.dropped, 1)


cdef class MirrorCopy(Copy):
    cdef void keep(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
        if self.original is None:
            return
        if self.body is None:
            self.body = bytearray()
        if len(self.body) + size > self.mirror.max_body:
            self.original = self.body = None
            self.mirror.drop()
        else:
            self.body += data[at:at + size]

    cdef void complete(self) noexcept:
        cdef Exchange original = self.original
        if original is not None:
            self.original = None
            self.send(original)

    cdef void forget(self) noexcept:
        self.original = None

    cdef void send(self, Exchange original) noexcept:
        cdef Exchange shadow = Exchange.__new__(Exchange)
        cdef Nobody nobody = Nobody.__new__(Nobody)
        cdef Head head = take_head()
        cdef bytes source = original.request.source
        head.scan_request(source, original.request.base - PyBytes_AS_STRING(source), &original.listener.limits)
        if frame_request(head, &shadow.framing) != Fault.OK:
            give_head(head)
            return
        nobody.mirror = self.mirror
        shadow.process, shadow.listener, shadow.client = original.process, original.listener, nobody
        shadow.peer, shadow.request, shadow.path = original.peer, head, original.path
        shadow.route, shadow.cluster = self.mirror.route, self.mirror.route.cluster
        shadow.started_ns, shadow.idle_ns = now_ns(), original.listener.stream_idle_ns
        shadow.is_request_done = shadow.is_shadow = True
        shadow.held = [(bytes(self.body), 0, len(self.body))] if self.body else None
        introduce(shadow.process, shadow.listener, shadow.route, head, False, shadow.peer, shadow.request_id,
                  &shadow.additions)
        memcpy(shadow.request_id, original.request_id, REQUEST_ID_LENGTH)
        if shadow.path is not None:
            shadow.additions.path, shadow.additions.path_len = shadow.path, len(shadow.path)
        shadow.request_lines = shadow_host(head)
        shadow.additions.host, shadow.additions.host_len = shadow.request_lines, len(shadow.request_lines)
        self.mirror.under_way += 1
        count(&self.mirror.metrics.cells, self.mirror.sent, 1)
        shadow.choose_origin()
        if shadow.origin is not None:
            shadow.origin.flush()


cdef class Nobody(End):
    cdef void release(self) noexcept:
        self.mirror.under_way -= 1


cdef bytes shadow_host(Head head):
    """With `-shadow` behind the name, as Envoy writes it, so that the other side can tell copies by their logs."""
    cdef bytes host = head.base[head.host:head.host + head.host_len]
    if not host or host.startswith(b"["):
        return host
    name, colon, port = host.partition(b":")
    return name + b"-shadow" + colon + port
