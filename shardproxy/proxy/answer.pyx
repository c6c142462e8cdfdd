"""Our own answers: what replies.py has prepared, and what depends on the moment.  Cost: a few copies, no formatting."""

from shardproxy.http1.splice cimport Scratch
from shardproxy.shm.metrics cimport count

from shardproxy.proxy.replies import REPLIES

cdef list prepared = list(REPLIES)


cdef bint has_reply(int fault) noexcept:
    """Is there anybody left to answer?"""
    return prepared[fault].status != 0


cdef bint closes(int fault) noexcept:
    """Is it in doubt where the next request begins?"""
    return prepared[fault].closes


cdef void write_reply(Process process, int fault, int64_t retry_after_s, bytes connection, bytes lines,
                      bint is_head) noexcept:
    """Status line, fields, and the body unless the request was HEAD; `connection` and `lines` are field lines
    or empty."""
    cdef Scratch out = process.scratch
    status, head, body, _ = prepared[fault]
    out.add_bytes(head)
    if retry_after_s:
        out.add(b"Retry-After: ", 13)
        out.add_decimal(retry_after_s)
        out.add(b"\r\n", 2)
    out.add_bytes(process.date_line)
    out.add_bytes(connection)
    if lines is not None:
        out.add_bytes(lines)
    out.add(b"\r\n", 2)
    if not is_head:
        out.add_bytes(body)
    count(process.cells, process.slots.responses[<int>status // 100], 1)
