"""Our own answers: what replies.py has prepared, and what depends on the moment.  Cost: a few copies, no formatting, and no
memory, so that there is an answer when that has run out."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from shardproxy.http1.splice cimport Scratch
from shardproxy.shm.metrics cimport count

from shardproxy.proxy.replies import REPLIES

cdef enum:
    FAULTS_MAX = 64

cdef struct Prepared:
    int status                  # 0 = nobody is left to answer
    bint closes
    const char* head
    Py_ssize_t head_len
    const char* body
    Py_ssize_t body_len

cdef tuple replies = REPLIES    # keeps what the next one points into
cdef Prepared[FAULTS_MAX] prepared


def fill_table():
    cdef bytes head, body
    for i, (status, head, body, closes) in enumerate(replies):
        prepared[i] = Prepared(status=status, closes=closes, head=PyBytes_AS_STRING(head), head_len=len(head),
                               body=PyBytes_AS_STRING(body), body_len=len(body))


fill_table()


cdef bint has_reply(int fault) noexcept:
    """Is there anybody left to answer?"""
    return prepared[fault].status != 0


cdef bint closes(int fault) noexcept:
    """Is it in doubt where the next request begins?"""
    return prepared[fault].closes


cdef void begin_reply(Process process, int fault, int64_t retry_after_s) noexcept:
    """Status line and the fields that are ours; the connection's may follow."""
    cdef Scratch out = process.scratch
    out.add(prepared[fault].head, prepared[fault].head_len)
    if retry_after_s:
        out.add(b"Retry-After: ", 13)
        out.add_decimal(retry_after_s)
        out.add(b"\r\n", 2)
    out.add_bytes(process.date_line)


cdef void end_reply(Process process, int fault, bytes lines, bint is_head) noexcept:
    """Field lines or None, and the body unless the request was HEAD."""
    cdef Scratch out = process.scratch
    if lines is not None:
        out.add(PyBytes_AS_STRING(lines), PyBytes_GET_SIZE(lines))
    out.add(b"\r\n", 2)
    if not is_head:
        out.add(prepared[fault].body, prepared[fault].body_len)
    count(process.cells, process.slots.responses[prepared[fault].status // 100], 1)
