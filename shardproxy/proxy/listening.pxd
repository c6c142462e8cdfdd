# A listening socket: who comes is accepted, several in one turn.
from .watching cimport Watched

cdef class StreamServer(Watched):
    cdef object sock
    cdef object factory

    cdef void rest(self) noexcept
