"""Reading heads that come in pieces, and writing: small pieces are joined in the worker's scratch buffer, so that a head
and a short body are one write; large pieces pass without a copy.

The scratch buffer belongs to one connection at a time (`cork`); who needs it next makes the other one flush.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING

from shardproxy.http1.faults cimport Fault
from shardproxy.http1.framing cimport BODY_CHUNKED
from shardproxy.http1.head cimport find_head_end
from shardproxy.http1.splice cimport splice_trailers
from shardproxy.shm.metrics cimport count


cdef class Connection(End):

    cdef void part(self) noexcept:
        """The stream is lost."""
        self.stream = self.input = self.partial = None

    # Writing -------------------------------------------------------------------------------------------------------

    # hot
    cdef void cork(self) noexcept:
        """The scratch buffer is ours from here to the next flush."""
        cdef Process process = self.process
        if process.corked is not self:
            if process.corked is not None:
                process.corked.flush()
            process.corked = self

    # hot
    cdef void send_body(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
        if self.stream is None:
            return
        self.cork()
        if self.sending == BODY_CHUNKED:
            self.process.scratch.add_hex(size)
            self.process.scratch.add(b"\r\n", 2)
            self.put(data, at, size)
            self.process.scratch.add(b"\r\n", 2)
        else:
            self.put(data, at, size)

    # hot
    cdef bint joins(self, Py_ssize_t size) noexcept:
        """Is a piece of that size copied behind what is held, so that they are one write?"""
        if self.sending == BODY_CHUNKED:
            return self.process.scratch.size + size <= JOIN_CHUNKS
        return size <= JOIN_BYTES and self.process.scratch.size <= JOIN_BYTES

    # hot
    cdef void put(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
        """Join a small piece to what is held; let a large one pass behind it, in the same write and without a copy."""
        if self.joins(size):
            self.process.scratch.add(PyBytes_AS_STRING(data) + at, size)
            return
        if self.written != NOT_COUNTED:
            count(self.process.cells, self.written, self.process.scratch.size + size)
        if self.process.scratch.failed:
            self.stream.break_off(Fault.NO_RESOURCES)
        else:
            self.stream.send_with(self.process.scratch.start, self.process.scratch.size, data, at, size)
        self.process.scratch.clear()

    # hot
    cdef void put_scratch(self) noexcept:
        """What could not be put together for lack of memory is not sent, and nothing after it."""
        cdef Py_ssize_t size = self.process.scratch.size
        if self.stream is not None:
            if self.process.scratch.failed:
                self.stream.break_off(Fault.NO_RESOURCES)
            elif size:
                if self.written != NOT_COUNTED:
                    count(self.process.cells, self.written, size)
                self.stream.send(self.process.scratch.start, size)
        self.process.scratch.clear()

    # hot
    cdef void finish(self) noexcept:
        if self.sending == BODY_CHUNKED:
            self.cork()
            self.process.scratch.add(b"0\r\n", 3)
            if self.trailers is not None:
                self.write_trailers()
            self.process.scratch.add(b"\r\n", 2)
        self.trailers = None
        self.flush()

    cdef void write_trailers(self) noexcept:
        splice_trailers(self.process.scratch, PyByteArray_AS_STRING(self.trailers), PyByteArray_GET_SIZE(self.trailers))

    cdef int keep_trailers(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1:
        """The bytes of a trailer section; the reader has checked them and bounds them."""
        if self.trailers is None:
            self.trailers = bytearray()
        self.trailers += data[at:at + size]
        return 0

    # hot
    cdef void flush(self) noexcept:
        if self.process.corked is self:
            self.process.corked = None
            self.put_scratch()

    cdef void half_close(self) noexcept:
        self.flush()
        if self.stream is not None:
            self.stream.end_writing()

    cdef void discard(self) noexcept:
        """Drop what is held: it belongs to a message that will not be completed."""
        if self.process.corked is self:
            self.process.corked = None
            self.process.scratch.clear()

    # Heads in pieces -----------------------------------------------------------------------------------------------

    cdef int keep_partial(self) except -1:
        """The rest of the input is the beginning of a head."""
        self.partial = bytearray(self.input[self.at:])
        self.scanned = 0
        self.input = None
        return 0

    cdef int join_partial(self, uint32_t max_bytes) except -1:
        """Add the input to the incomplete head: OK when it is complete and the input again, NEED_MORE or a fault.

        Cost: each byte is looked at once, however many pieces there are."""
        cdef int fault
        self.partial += self.input[self.at:]
        self.input = None
        fault = find_head_end(self.partial, len(self.partial), &self.scanned)
        if fault == Fault.OK:
            self.input = bytes(self.partial)
            self.at = 0
            self.partial = None
        elif fault == Fault.NEED_MORE and len(self.partial) > <Py_ssize_t>max_bytes:
            fault = Fault.HEAD_TOO_LARGE
        return fault
