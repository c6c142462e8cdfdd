# Who is served first when a cluster is full.
from .exchange cimport Exchange

cdef enum:
    LOWEST = 2                  # classes are 0, 1 and 2

cdef int rank_of(Exchange exchange) noexcept
