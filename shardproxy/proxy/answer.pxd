# Our own answers, written into the scratch buffer.
from libc.stdint cimport int64_t

from .process cimport Process

cdef bint has_reply(int fault) noexcept
cdef bint closes(int fault) noexcept
cdef void write_reply(Process process, int fault, int64_t retry_after_s, bytes connection, bytes lines, bint is_head) noexcept
