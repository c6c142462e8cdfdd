# A connection to an endpoint that is being made.
from .upstream cimport Upstream
from .watching cimport Watch, Watched

cdef class Attempt(Watched):
    cdef object sock
    cdef object address             # config.units.Address
    cdef int error                  # errno that it failed with
    cdef Upstream upstream          # None when it is over

    cdef begin(self)
    cdef Upstream conclude(self)
    cdef void end_with(self, int fault) noexcept
