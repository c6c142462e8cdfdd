# What both kinds of HTTP/1.1 connection have in common: bytes in, heads in pieces, bodies out, writes that are joined.
from libc.stdint cimport uint32_t

from shardproxy.http1.framing cimport BodyKind, BodyReader
from .ends cimport End
from .process cimport Process
from .streams cimport Stream

cdef enum:
    JOIN_BYTES = 4096       # a piece up to this size is copied behind the head: cheaper than another write
    JOIN_CHUNKS = 32768     # of a chunked body more follows for certain, if only its end: together up to this size
    NOT_COUNTED = -1

cdef class Connection(End):
    cdef Process process
    cdef Stream stream              # None before it is there, and when it is lost
    # reading
    cdef bytes input                # bytes that are being read, or have to wait
    cdef Py_ssize_t at              # where in them
    cdef bytearray partial          # an incomplete head
    cdef Py_ssize_t scanned
    cdef BodyReader body            # of the message that comes in
    # writing
    cdef BodyKind sending           # how the body that goes out is framed
    cdef bytearray trailers         # that go out behind it; None = none
    cdef int written                # counter of bytes, or NOT_COUNTED

    cdef void part(self) noexcept
    cdef void cork(self) noexcept
    cdef void discard(self) noexcept
    cdef bint joins(self, Py_ssize_t size) noexcept
    cdef void put(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept
    cdef void write_trailers(self) noexcept
    cdef void put_scratch(self) noexcept
    cdef int keep_partial(self) except -1
    cdef int join_partial(self, uint32_t max_bytes) except -1
