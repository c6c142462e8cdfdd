# A file that many processes append lines to: written in large pieces from a buffer, each piece whole lines.
from libc.stdint cimport int64_t

cdef enum:
    BUFFER_BYTES = 131072
    MOST_LINE = 32768           # bytes of one line
    RETRY_NS = 1_000_000_000    # between two tries to open the file

cdef class LogFile:
    cdef object __weakref__
    cdef readonly str path
    cdef bytes c_path
    cdef int fd                 # -1 = it cannot be opened
    cdef int error              # errno of the last open or write that failed; 0 = it did not fail
    cdef bint is_stale          # the path is to be opened anew, and could not be
    cdef int64_t retry_ns       # when the next try to open it is due
    cdef int64_t complain_ns    # when the log of the program may have the next line about it
    cdef bint has_complained    # ... and has one that is not revoked
    cdef readonly int64_t lost  # lines that were left out
    cdef char* buffer
    cdef Py_ssize_t used

    # where a line of at most MOST_LINE bytes can be written; NULL: the line is left out, since the file takes none and
    # the buffer is full
    cdef char* room(self) noexcept
    # ... and so long it is
    cdef void add(self, Py_ssize_t n) noexcept
    cdef void push(self) noexcept

    # inside
    cdef void open_anew(self) noexcept
    cdef void failed(self, int error) noexcept
    cdef void lose(self) noexcept
    cdef void complain(self) noexcept
    cdef void revoke(self) noexcept
    cdef bint is_gone(self) noexcept
