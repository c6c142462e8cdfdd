# Fields that a route sets, adds and removes.
from shardproxy.http1.head cimport Head
from .exchange cimport Exchange

cdef class Edits:
    cdef tuple dropped          # names in lower case: removed, and set anew
    cdef tuple added            # of (name, pieces); a piece is bytes or the number of a variable

    cdef int cut(self, Head head) except -1
    cdef bytes lines(self, Exchange exchange, int status)
    cdef bytes value(self, int variable, Exchange exchange, int status)
