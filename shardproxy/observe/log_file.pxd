# A file that many processes append lines to: written in large pieces from a buffer, each piece whole lines.

cdef enum:
    BUFFER_BYTES = 131072
    MOST_LINE = 32768           # bytes of one line

cdef class LogFile:
    cdef object __weakref__
    cdef readonly str path
    cdef int fd
    cdef char* buffer
    cdef Py_ssize_t used

    # where a line of at most MOST_LINE bytes can be written; NULL: the file takes none, and the buffer is full
    cdef char* room(self) noexcept
    # ... and so long it is; true: it is the first of those that wait
    cdef bint add(self, Py_ssize_t n) noexcept
    cdef void push(self) noexcept
