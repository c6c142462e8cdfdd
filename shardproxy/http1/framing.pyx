"""Framing of messages and reading of bodies, strict (RFC 9112 §6 and §7)."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from .faults cimport Fault
from .grammar cimport SP_TOKEN, SP_VALUE, sp_class, sp_hex, text
from .head cimport Head
from .names cimport *

from .faults import NAMES

cdef enum:
    MAX_CHUNK_DIGITS = 15       # 2^60: no length overflows
    MAX_OVERHEAD = 8192         # bytes of one chunk's extensions, or of the whole trailer section
    PAYLOAD_PER_EXTENSION = 16  # more extensions than that share of the payload is somebody who wastes our time

cdef enum ChunkState:
    # a chunk:  SIZE_FIRST SIZE* (EXTENSION*)? SIZE_LF  DATA*  DATA_CR DATA_LF
    CHUNK_SIZE_FIRST = 0
    CHUNK_SIZE
    CHUNK_EXTENSION_SPACE
    CHUNK_EXTENSION
    CHUNK_SIZE_LF
    CHUNK_DATA
    CHUNK_DATA_CR
    CHUNK_DATA_LF
    # after the last chunk:  (NAME_FIRST NAME* VALUE* VALUE_LF)*  END_LF
    TRAILER_NAME_FIRST
    TRAILER_NAME
    TRAILER_VALUE
    TRAILER_VALUE_LF
    TRAILER_END_LF


# hot
cdef int frame_request(Head head, Framing* framing) noexcept:
    """The body of a request: none, Content-Length, or chunked; any doubt is a fault (RFC 9112 §6.1, §6.3)."""
    framing.kind = BODY_NONE
    framing.length = 0
    if head.codings == 0 and head.lengths == 0:
        return Fault.OK
    if head.codings:
        return frame_coded(head, framing)
    if head.lengths > 1 or head.length < 0:
        return Fault.BAD_LENGTH
    framing.kind = BODY_LENGTH if head.length else BODY_NONE
    framing.length = head.length
    return Fault.OK


cdef int frame_coded(Head head, Framing* framing) noexcept:
    """Transfer-Encoding counts only if it is exactly `chunked`, in HTTP/1.1, without a Content-Length."""
    if head.lengths:
        return Fault.AMBIGUOUS_LENGTH
    if head.minor == 0 or head.codings > 1 or not head.is_chunked:
        return Fault.BAD_CODING
    if head.has_other_coding:
        return Fault.UNSUPPORTED_CODING
    framing.kind = BODY_CHUNKED
    return Fault.OK


# hot
cdef int frame_response(Head head, Method method, Framing* framing) noexcept:
    """The body of a response: HEAD, 1xx, 204 and 304 have none; without a length it ends with the connection."""
    framing.kind = BODY_NONE
    framing.length = 0
    if head.lengths > 1 or (head.lengths and head.length < 0) or (head.codings and head.lengths):
        return Fault.BAD_RESPONSE
    if head.status == 101:
        framing.kind = BODY_TUNNEL
        return Fault.OK if not head.codings and not head.lengths else Fault.BAD_RESPONSE
    if head.status < 200 or head.status == 204:
        return Fault.OK if not head.codings else Fault.BAD_RESPONSE
    if method == METHOD_HEAD or head.status == 304:
        return Fault.OK
    if head.codings:
        if frame_coded(head, framing) != Fault.OK:
            return Fault.BAD_RESPONSE
    elif head.lengths:
        framing.kind = BODY_LENGTH if head.length else BODY_NONE
        framing.length = head.length
    else:
        framing.kind = BODY_UNTIL_CLOSE
    return Fault.OK


cdef void start_reading(BodyReader* reader, const Framing* framing) noexcept nogil:
    reader.kind = framing.kind
    reader.state = CHUNK_SIZE_FIRST
    reader.is_done = framing.kind == BODY_NONE
    reader.left = framing.length
    reader.seen = 0
    reader.overhead = 0
    reader.extensions = 0


# hot
cdef int read_chunked(BodyReader* reader, text p, Py_ssize_t n, Piece* piece) noexcept nogil:
    """One step of a chunked body: skip what is framing, stop after the first payload (RFC 9112 §7.1)."""
    cdef Py_ssize_t i = 0
    cdef int fault
    piece.size = 0
    piece.trailer_at = 0
    while i < n and not reader.is_done:
        if reader.state == CHUNK_DATA:
            piece.at = i
            piece.size = n - i if n - i < reader.left else <Py_ssize_t>reader.left
            reader.left -= piece.size
            reader.seen += piece.size
            if reader.left == 0:
                reader.state = CHUNK_DATA_CR
            piece.used = i + piece.size
            return Fault.OK
        if reader.state < TRAILER_NAME_FIRST:
            fault = step_chunk(reader, <unsigned char>p[i])
            piece.trailer_at = i + 1
        else:
            fault = step_trailer(reader, <unsigned char>p[i])
            piece.trailer_size = i + 1 - piece.trailer_at
        if fault != Fault.OK:
            return fault
        i += 1
    piece.used = i
    return Fault.OK


# hot
cdef int step_chunk(BodyReader* reader, unsigned char c) noexcept nogil:
    """chunk-size [ chunk-ext ] CRLF chunk-data CRLF, byte by byte."""
    cdef int digit
    if reader.state == CHUNK_SIZE_FIRST or reader.state == CHUNK_SIZE:
        digit = sp_hex(c)
        if digit >= 0:
            reader.left = digit if reader.state == CHUNK_SIZE_FIRST else reader.left * 16 + digit
            reader.overhead = 1 if reader.state == CHUNK_SIZE_FIRST else reader.overhead + 1
            reader.state = CHUNK_SIZE
            return Fault.OK if reader.overhead <= MAX_CHUNK_DIGITS else Fault.BAD_CHUNK
        if reader.state == CHUNK_SIZE_FIRST:
            return Fault.BAD_CHUNK
        return after_size(reader, c)
    if reader.state == CHUNK_EXTENSION or reader.state == CHUNK_EXTENSION_SPACE:
        return step_extension(reader, c)
    if reader.state == CHUNK_SIZE_LF:
        reader.overhead = 0
        reader.state = CHUNK_DATA if reader.left else TRAILER_NAME_FIRST
        return Fault.OK if c == b'\n' else Fault.BAD_CHUNK
    if reader.state == CHUNK_DATA_CR:
        reader.state = CHUNK_DATA_LF
        return Fault.OK if c == b'\r' else Fault.BAD_CHUNK
    reader.state = CHUNK_SIZE_FIRST
    return Fault.OK if c == b'\n' else Fault.BAD_CHUNK


cdef int after_size(BodyReader* reader, unsigned char c) noexcept nogil:
    if c == b'\r':
        reader.state = CHUNK_SIZE_LF
    elif c == b';':
        reader.state = CHUNK_EXTENSION
    elif c == b' ' or c == b'\t':
        reader.state = CHUNK_EXTENSION_SPACE
    else:
        return Fault.BAD_CHUNK
    return Fault.OK


cdef int step_extension(BodyReader* reader, unsigned char c) noexcept nogil:
    """Extensions are read over, bounded for the chunk and for the body, and never passed on (compare CVE-2023-39326);
    white space is only allowed before a `;`."""
    reader.overhead += 1
    reader.extensions += 1
    if reader.overhead > MAX_OVERHEAD or reader.extensions > MAX_OVERHEAD + reader.seen // PAYLOAD_PER_EXTENSION:
        return Fault.BAD_CHUNK
    if reader.state == CHUNK_EXTENSION_SPACE:
        if c == b';':
            reader.state = CHUNK_EXTENSION
            return Fault.OK
        return Fault.OK if c == b' ' or c == b'\t' else Fault.BAD_CHUNK
    if c == b'\r':
        reader.state = CHUNK_SIZE_LF
        return Fault.OK
    return Fault.OK if sp_class[c] & SP_VALUE else Fault.BAD_CHUNK


cdef int step_trailer(BodyReader* reader, unsigned char c) noexcept nogil:
    """Trailer fields obey the same rules as header fields (RFC 9112 §7.1.2); bounded."""
    reader.overhead += 1
    if reader.overhead > MAX_OVERHEAD:
        return Fault.BAD_TRAILER
    if reader.state == TRAILER_NAME_FIRST:
        if c == b'\r':
            reader.state = TRAILER_END_LF
            return Fault.OK
        reader.state = TRAILER_NAME
        return Fault.OK if sp_class[c] & SP_TOKEN else Fault.BAD_TRAILER
    if reader.state == TRAILER_NAME:
        if c == b':':
            reader.state = TRAILER_VALUE
            return Fault.OK
        return Fault.OK if sp_class[c] & SP_TOKEN else Fault.BAD_TRAILER
    if reader.state == TRAILER_VALUE:
        if c == b'\r':
            reader.state = TRAILER_VALUE_LF
            return Fault.OK
        return Fault.OK if sp_class[c] & SP_VALUE else Fault.BAD_TRAILER
    reader.is_done = reader.state == TRAILER_END_LF
    reader.state = TRAILER_NAME_FIRST
    return Fault.OK if c == b'\n' else Fault.BAD_TRAILER


# For tests ---------------------------------------------------------------------------------------------------------

KINDS = {BODY_NONE: "none", BODY_LENGTH: "length", BODY_CHUNKED: "chunked", BODY_UNTIL_CLOSE: "until_close",
         BODY_TUNNEL: "tunnel"}


def request_framing(Head head not None):
    """(fault, kind, length) of a request whose head has been read."""
    cdef Framing framing
    cdef int fault = frame_request(head, &framing)
    return NAMES[fault], KINDS[framing.kind], framing.length


def response_framing(Head head not None, bytes method):
    """(fault, kind, length) of a response to a request with this method."""
    cdef Framing framing
    cdef int fault = frame_response(head, method_of(method, len(method)), &framing)
    return NAMES[fault], KINDS[framing.kind], framing.length


cdef class Body:
    """Reads a body from pieces as they arrive."""
    cdef BodyReader reader

    def __init__(self, str kind, int64_t length=0):
        cdef Framing framing
        framing.kind = {name: number for number, name in KINDS.items()}[kind]
        framing.length = length
        start_reading(&self.reader, &framing)

    def feed(self, bytes data):
        """(fault, payload, bytes used)."""
        cdef Piece piece
        cdef Py_ssize_t at = 0
        cdef int fault = Fault.OK
        payload = []
        while at < len(data) and not self.reader.is_done:
            fault = read_body(&self.reader, PyBytes_AS_STRING(data) + at, PyBytes_GET_SIZE(data) - at, &piece)
            if fault != Fault.OK:
                break
            payload.append(data[at + piece.at:at + piece.at + piece.size])
            at += piece.used
        return NAMES[fault], b"".join(payload), at

    @property
    def is_done(self):
        return bool(self.reader.is_done)
