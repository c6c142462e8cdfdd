"""The access log: one line when an exchange is over.  Cost: a copy of what the line has, and a system call for many lines."""

from cpython.list cimport PyList_GET_ITEM
from libc.string cimport memset

from shardproxy.http1.faults cimport Fault
from shardproxy.http1.fields cimport Field
from shardproxy.observe.access_log cimport Slice, slice_of, write_line
from shardproxy.shm.clock cimport now_ns
from shardproxy.shm.metrics cimport count
from .ends cimport Source

from shardproxy.http1.faults import FAULTS, NAMES
from shardproxy.observe.access_log import FORMATS

cdef enum:
    FAULTS_MAX = 64

cdef list names = [name.encode() for name in NAMES]
cdef Slice[FAULTS_MAX] reasons
cdef int[FAULTS_MAX] statuses


def fill_tables():
    cdef bytes name
    for i, name in enumerate(names):
        reasons[i] = slice_of(name)
        statuses[i] = FAULTS[i].status
    reasons[<int>Fault.OK] = Slice(p=NULL, n=0)


cdef inline Slice part_of(Head head, int64_t at, int64_t n) noexcept:
    return Slice(p=head.base + at, n=n)


cdef inline Slice value_of(Head head, const Field* field) noexcept:
    return Slice(p=NULL, n=0) if field == NULL else part_of(head, field.value, field.value_len)


fill_tables()


cdef class AccessLog(Journal):
    def __init__(self, Process process not None, LogFile file not None, str format not None, str listener not None,
                 int64_t flush_ns, int dropped):
        self.process, self.wheel = process, process.wheel
        self.file, self.format, self.listener = file, FORMATS[format], listener.encode()
        self.flush_ns, self.dropped = flush_ns, dropped

    def __dealloc__(self):
        if self.file is not None:
            self.file.push()    # nobody will do it for this one's deadline

    # hot
    cdef void note(self, object exchange, int fault) noexcept:
        cdef Exchange over = <Exchange>exchange
        cdef int64_t now = now_ns()
        cdef Record record
        memset(&record, 0, sizeof(record))
        self.describe_request(&record, over.request)
        self.describe_way(&record, over)
        if over.additions.client_len:
            record.client = Slice(p=over.additions.client, n=over.additions.client_len)
        elif over.peer is not None:
            record.client = slice_of(over.peer)
        record.reason = reasons[fault]
        record.status = over.status or statuses[fault]
        record.bytes_in, record.bytes_out = over.request_bytes, over.response_bytes
        record.duration_ns = now - over.started_ns
        record.upstream_ns = now - over.sent_ns if over.sent_ns else -1
        self.write(&record)

    cdef void note_refusal(self, bytes peer, int fault) noexcept:
        cdef Record record
        memset(&record, 0, sizeof(record))
        if peer is not None:
            record.client = slice_of(peer)
        record.reason = reasons[fault]
        record.status = statuses[fault]
        record.upstream_ns = -1
        self.write(&record)

    # hot
    cdef void describe_request(self, Record* record, Head head) noexcept:
        record.method = part_of(head, 0, head.method_len)
        record.minor = head.minor
        record.target = part_of(head, head.target, head.target_len)
        record.host = part_of(head, head.host, head.host_len)
        record.referer = value_of(head, head.find_named(b"referer", 7))
        record.agent = value_of(head, head.find_named(b"user-agent", 10))

    # hot
    cdef void describe_way(self, Record* record, Exchange exchange) noexcept:
        record.request_id = Slice(p=exchange.additions.request_id, n=exchange.additions.request_id_len)
        if exchange.cluster is not None:
            record.cluster = slice_of(exchange.cluster.label)
            if exchange.endpoint >= 0:
                record.endpoint = slice_of((<Source>PyList_GET_ITEM(exchange.cluster.sources, exchange.endpoint)).label)
        if exchange.retrier is not None:
            record.retries = exchange.retrier.tries

    # hot
    cdef void write(self, Record* record) noexcept:
        cdef char* out
        record.listener = slice_of(self.listener)
        out = self.file.room()
        if out == NULL:
            count(self.process.cells, self.dropped, 1)
            return
        self.file.add(write_line(out, record, self.format))
        if self.timer.deadline == 0:
            self.set_deadline(self.wheel.now_ns + self.flush_ns)

    cdef int timed_out(self) except -1:
        self.file.push()
        return 0
