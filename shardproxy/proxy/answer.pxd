# Our own answers, written into the scratch buffer: the first part, then the fields of the moment, then the rest.
from libc.stdint cimport int64_t

from .process cimport Process

cdef bint has_reply(int fault) noexcept
cdef bint closes(int fault) noexcept
cdef void begin_reply(Process process, int fault, int64_t retry_after_s) noexcept
cdef void end_reply(Process process, int fault, bytes lines, bint is_head) noexcept
