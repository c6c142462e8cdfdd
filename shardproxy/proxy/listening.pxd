# A listening socket, and whose its connections are.
from .process cimport Process
from .runtime cimport ListenerRuntime
from .watching cimport Watched

cdef class StreamServer(Watched):
    cdef Process process
    cdef object sock
    cdef public ListenerRuntime listener    # who comes next is its client

    cdef int rest(self) except -1
