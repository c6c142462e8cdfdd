"""A mirror: what a route's requests would do to another cluster, without anybody depending on it.

A copy is sent once the request has come in whole, by an exchange of its own whose client is nobody: its answer is read and
forgotten, and whatever becomes of it is seen in the other cluster's numbers alone.  Bounded: copies under way in a worker,
and the body that is kept; what is beyond is not sent, and counted.
"""

from cpython.bytes cimport PyBytes_AS_STRING

from shardproxy.http1.faults cimport Fault
from shardproxy.http1.framing cimport BODY_NONE, frame_request
from shardproxy.http1.head cimport give_head, take_head
from shardproxy.shm.metrics cimport count
from .boundary cimport report

cdef enum:
    MOST_UNDER_WAY = 256
    MILLION = 1_000_000


cdef class Mirror:
    def __init__(self, RouteRuntime route not None, Metrics metrics not None, *, uint32_t millionths, Py_ssize_t max_body,
                 int sent, int dropped, uint64_t seed=1):
        self.route, self.metrics = route, metrics
        self.millionths, self.max_body, self.random = millionths, max_body, seed | 1
        self.sent, self.dropped = sent, dropped

    # boundary
    cdef void begin(self, Exchange exchange) noexcept:
        """Whatever fails here costs the copy, never the request."""
        try:
            self.record(exchange)
        except BaseException as error:
            report(error, self)
            self.drop()

    cdef int record(self, Exchange exchange) except -1:
        cdef MirrorCopy copy
        if not self.draws():
            return 0
        if self.under_way >= MOST_UNDER_WAY or exchange.request.says_upgrade:
            self.drop()
            return 0
        copy = MirrorCopy.__new__(MirrorCopy)
        copy.mirror, copy.original = self, exchange
        if exchange.framing.kind == BODY_NONE:
            copy.complete()
            return 0
        exchange.record_for(copy)
        if exchange.held is not None:
            for data, at, size in exchange.held:
                copy.keep(data, at, size)
        if exchange.is_request_done:
            copy.complete()
        return 0

    cdef bint draws(self) noexcept:
        self.random ^= self.random >> 12
        self.random ^= self.random << 25
        self.random ^= self.random >> 27
        return ((self.random * <uint64_t>2685821657736338717) >> 11) % MILLION < self.millionths

    cdef void drop(self) noexcept:
        count(&self.metrics.cells, self.dropped, 1)


cdef class MirrorCopy(Copy):
    # boundary
    cdef void keep(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
        """What cannot be kept costs the copy, never the request."""
        if self.original is None:
            return
        try:
            if self.body is None:
                self.body = bytearray()
            if len(self.body) + size <= self.mirror.max_body:
                self.body += data[at:at + size]
                return
        except BaseException as error:
            report(error, self)
        self.original = self.body = None
        self.mirror.drop()

    # boundary
    cdef void complete(self) noexcept:
        cdef Exchange original = self.original
        if original is not None:
            self.original = None
            try:
                self.send(original)
            except BaseException as error:
                report(error, self)
                self.mirror.drop()

    cdef void forget(self) noexcept:
        self.original = None

    cdef int send(self, Exchange original) except -1:
        cdef Exchange shadow = Exchange.__new__(Exchange)
        cdef Nobody nobody = Nobody.__new__(Nobody)
        cdef Framing framing
        cdef bytes source = original.request.source, host = shadow_host(original.request)
        cdef bytes body = bytes(self.body) if self.body else None
        cdef Head head = take_head()
        head.scan_request(source, original.request.base - PyBytes_AS_STRING(source), &original.listener.limits)
        if frame_request(head, &framing) != Fault.OK:
            give_head(head)
            return 0
        nobody.mirror = self.mirror
        self.mirror.under_way += 1
        count(&self.mirror.metrics.cells, self.mirror.sent, 1)
        try:
            shadow.begin_shadow(original, self.mirror.route, nobody, head, &framing, body, host)
        except BaseException as error:
            shadow.crash(report(error, shadow))
        return 0


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
