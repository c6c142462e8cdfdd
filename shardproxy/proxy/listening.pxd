# A listening socket, and whose its connections are.
from .process cimport Process
from .runtime cimport ListenerRuntime
from .timers cimport Timed
from .watching cimport Watched

cdef class StreamServer(Watched):
    cdef Process process
    cdef public ListenerRuntime listener    # clients that come next are its
    cdef AcceptPause shortage
    cdef bint is_paused                     # by its owner

    cdef void rest(self, int error) noexcept
    cdef void go_on(self) noexcept

# While descriptors or memory are missing; a timer of the wheel, since setting one cannot fail.
cdef class AcceptPause(Timed):
    cdef StreamServer server
