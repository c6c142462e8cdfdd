# Who has a body and how long it is (RFC 9112 §6): the only place that decides it, and the only reader of bodies.
from libc.stdint cimport int64_t, uint8_t, uint32_t

from .grammar cimport text
from .faults cimport Fault
from .head cimport Head
from .names cimport Method

cdef enum BodyKind:
    BODY_NONE = 0
    BODY_LENGTH
    BODY_CHUNKED
    BODY_UNTIL_CLOSE        # responses only
    BODY_TUNNEL             # after 101: no HTTP any more

cdef struct Framing:
    BodyKind kind
    int64_t length          # of BODY_LENGTH

cdef int frame_request(Head head, Framing* framing) noexcept
cdef int frame_response(Head head, Method method, Framing* framing) noexcept


# Where a body is being read.  One reader belongs to one message; it holds no bytes.
cdef struct BodyReader:
    BodyKind kind
    uint8_t state           # of a chunked body: see framing.pyx
    bint is_done
    int64_t left            # of the body or of the chunk
    int64_t seen            # payload bytes so far
    int64_t extensions      # bytes of chunk extensions in the whole body
    uint32_t overhead       # bytes of the chunk line or the trailer section so far

# What one step of reading found: payload at p + at, and how far the step came.
cdef struct Piece:
    Py_ssize_t at
    Py_ssize_t size
    Py_ssize_t used
    Py_ssize_t trailer_at       # bytes of the trailer section, behind the last chunk
    Py_ssize_t trailer_size

cdef void start_reading(BodyReader* reader, const Framing* framing) noexcept nogil
cdef int read_chunked(BodyReader* reader, text p, Py_ssize_t n, Piece* piece) noexcept nogil


cdef inline int read_body(BodyReader* reader, text p, Py_ssize_t n, Piece* piece) noexcept nogil:
    """Find the next piece of payload in the n bytes at p: OK or a fault.

    Uses `piece.used` bytes, of which `piece.size` at `piece.at` are payload.  Call again until all bytes are used or
    `reader.is_done`; bytes after that belong to the next message.
    """
    piece.at = piece.trailer_size = 0
    if reader.kind == BODY_LENGTH:
        piece.size = piece.used = n if n < reader.left else <Py_ssize_t>reader.left
        reader.left -= piece.size
        reader.seen += piece.size
        reader.is_done = reader.left == 0
        return Fault.OK
    if reader.kind == BODY_CHUNKED:
        return read_chunked(reader, p, n, piece)
    piece.size = piece.used = n
    reader.seen += n
    return Fault.OK
