"""Drives single operations of the data path through their C entries, so that nothing but them is counted.

Built for the benchmark only (SP_BENCH=1, see setup.py), with the flags of the package, and never installed.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from shardproxy.http1.faults cimport Fault
from shardproxy.http1.forwarding cimport BELIEF_NONE_ASKED
from shardproxy.http1.framing cimport (
    BODY_CHUNKED, BodyReader, Framing, Piece, frame_request, frame_response, read_body, start_reading
)
from shardproxy.http1.head cimport HeadLimits
from shardproxy.http1.names cimport METHOD_GET
from shardproxy.http1.splice cimport splice_request, splice_response
from shardproxy.routing.table cimport NOWHERE, Cursor
from shardproxy.shm.buckets cimport bucket_take
from shardproxy.shm.keyed cimport KeyOutcome, key_hash, key_reserve

cdef extern from "<stdlib.h>":
    void* aligned_alloc(size_t alignment, size_t size)

cdef HeadLimits LIMITS = HeadLimits(max_bytes=65536, max_fields=256, max_target=8192)
cdef bytes DATE = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
cdef bytes PEER = b"192.0.2.1"
cdef bytes REQUEST_ID = b"01234567-89ab-4cde-8f01-23456789abcd"

cdef enum:
    STEP_NS = 1_000_000     # of the clock between two takes: the tokens come faster than they go


cdef class Operation:
    cdef void once(self) noexcept:
        pass

    cdef void repeat(self, long times) noexcept:
        cdef long i
        for i in range(times):
            self.once()

    def is_right(self):
        """Whether the operation last did what it should."""
        return True

    def run(self, long times):
        self.repeat(times)
        if not self.is_right():
            raise ValueError(f"{type(self).__name__} did not succeed")


cdef class ScanHead(Operation):
    def __init__(self, bytes source, *, bint is_request):
        self.head = Head()
        self.source = source
        self.is_request = is_request

    cdef int scan(self) noexcept:
        cdef Framing framing
        cdef int fault
        if self.is_request:
            fault = self.head.scan_request(self.source, 0, &LIMITS)
            return fault if fault != Fault.OK else frame_request(self.head, &framing)
        fault = self.head.scan_response(self.source, 0, &LIMITS)
        return fault if fault != Fault.OK else frame_response(self.head, METHOD_GET, &framing)

    cdef void once(self) noexcept:
        self.scan()

    def is_right(self):
        return self.scan() == Fault.OK and self.head.size == len(self.source)


cdef class SpliceHead(ScanHead):
    def __init__(self, bytes source, *, bint is_request):
        ScanHead.__init__(self, source, is_request=is_request)
        self.out = Scratch()
        if self.scan() != Fault.OK:
            raise ValueError("not a head")
        if is_request:
            frame_request(self.head, &self.framing)
        else:
            frame_response(self.head, METHOD_GET, &self.framing)
        memset(&self.additions, 0, sizeof(self.additions))
        self.additions.peer, self.additions.peer_len = PEER, len(PEER)
        self.additions.client, self.additions.client_len = PEER, len(PEER)
        self.additions.belief = BELIEF_NONE_ASKED
        self.additions.scheme, self.additions.scheme_len = b"http", 4
        self.additions.request_id, self.additions.request_id_len = REQUEST_ID, len(REQUEST_ID)

    cdef void once(self) noexcept:
        self.out.size = 0
        if self.is_request:
            splice_request(self.out, self.head, &self.framing, &self.additions, b"")
        else:
            splice_response(self.out, self.head, &self.framing, b"", DATE, b"")

    def is_right(self):
        return self.out.size > len(self.source) // 2


cdef class ReadChunked(Operation):
    def __init__(self, bytes body):
        self.body = body

    cdef void once(self) noexcept:
        cdef Framing framing = Framing(kind=BODY_CHUNKED, length=0)
        cdef BodyReader reader
        cdef Piece piece
        cdef Py_ssize_t at = 0, size = PyBytes_GET_SIZE(self.body)
        start_reading(&reader, &framing)
        while at < size and read_body(&reader, PyBytes_AS_STRING(self.body) + at, size - at, &piece) == Fault.OK:
            at += piece.used
        self.is_done = reader.is_done

    def is_right(self):
        return self.is_done


cdef class FindRoute(Operation):
    def __init__(self, Table table not None, list paths):
        cdef Py_ssize_t i
        cdef bytes path
        self.table = table
        self.count = len(paths)
        self.paths = <char*>aligned_alloc(PATH_BYTES, self.count * PATH_BYTES)
        self.sizes = <Py_ssize_t*>calloc(self.count, sizeof(Py_ssize_t))
        if self.paths == NULL or self.sizes == NULL:
            raise MemoryError
        for i, path in enumerate(paths):
            if len(path) > PATH_BYTES:
                raise ValueError("a path is too long")
            memcpy(self.paths + i * PATH_BYTES, <const char*>path, len(path))
            self.sizes[i] = len(path)

    def __dealloc__(self):
        free(self.paths)
        free(self.sizes)

    cdef void once(self) noexcept:
        cdef Cursor cursor
        cdef Py_ssize_t i = self.turn
        cursor.group, cursor.order = 0, NOWHERE
        self.turn = i + 1 if i + 1 < self.count else 0
        self.found = self.table.find(b"www.example.com", 15, self.paths + i * PATH_BYTES, self.sizes[i], &cursor)

    def is_right(self):
        return self.found >= 0


cdef class Pick(Operation):
    def __init__(self, Cluster cluster not None):
        self.cluster = cluster

    cdef void once(self) noexcept:
        self.chosen = self.cluster.choose()
        if self.chosen >= 0:
            self.cluster.release(self.chosen)

    def is_right(self):
        return self.chosen >= 0


cdef class PickHashed(Pick):
    cdef void once(self) noexcept:
        self.key += <uint64_t>0x9e3779b97f4a7c15
        self.chosen = self.cluster.choose_hashed(self.key, 0)
        if self.chosen >= 0:
            self.cluster.release(self.chosen)


cdef class TakeToken(Operation):
    def __init__(self, Bucket bucket not None):
        self.bucket = bucket
        self.now_ns = STEP_NS

    cdef void once(self) noexcept:
        self.now_ns += STEP_NS
        self.wait_ns = bucket_take(self.bucket.line, self.now_ns, 1, &self.bucket.rate)

    def is_right(self):
        return self.wait_ns == 0


cdef class TakeKeyedToken(Operation):
    def __init__(self, KeyedBuckets buckets not None, list keys):
        self.buckets = buckets
        self.keys = keys
        self.now_ns = STEP_NS

    cdef void once(self) noexcept:
        cdef KeyOutcome outcome
        cdef object key = <object>PyList_GET_ITEM(self.keys, self.turn)
        cdef uint64_t hashed = key_hash(&self.buckets.table, <const unsigned char*>PyBytes_AS_STRING(key),
                                        PyBytes_GET_SIZE(key))
        self.turn = self.turn + 1 if self.turn + 1 < PyList_GET_SIZE(self.keys) else 0
        self.now_ns += STEP_NS
        self.wait_ns = key_reserve(&self.buckets.table, hashed, self.now_ns, 1, &outcome)

    def is_right(self):
        return self.wait_ns >= 0
