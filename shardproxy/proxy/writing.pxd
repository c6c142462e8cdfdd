# Letting bytes go to a transport: small pieces are joined in the scratch buffer, large ones pass without a copy.
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from shardproxy.http1.splice cimport Scratch
from .ends cimport End
from .process cimport Process

cdef enum:
    JOIN_BYTES = 16384      # a piece up to this size is copied behind the head: cheaper than another write


cdef inline void cork(Process process, End end) noexcept:
    """The scratch buffer is this end's now; another's bytes go out first."""
    if process.corked is not end:
        if process.corked is not None:
            process.corked.flush()
        process.corked = end


cdef inline void write_scratch(object write, Scratch scratch) noexcept:
    if scratch.size:
        write(scratch.take())


cdef inline bint is_joinable(Scratch scratch, Py_ssize_t size) noexcept:
    return size <= JOIN_BYTES and scratch.size <= JOIN_BYTES


cdef inline void write_piece(object write, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
    """The transport keeps the view until the bytes are out; `data` is never changed."""
    if size == PyBytes_GET_SIZE(data):
        write(data)
    else:
        write(memoryview(data)[at:at + size])
