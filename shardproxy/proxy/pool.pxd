# The connections of this worker to one endpoint.
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t

from .ends cimport End, Source, WaitingRoom
from .process cimport Process
from .upstream cimport Upstream

cdef class EndpointPool(Source):
    cdef Process process
    cdef object address             # config.units.Address
    cdef object connector           # makes a connection there: called as attempts.Attempt is
    cdef int64_t connect_timeout_ns
    cdef int proxy_version          # of the PROXY protocol header that connections begin with; 0 = none
    cdef int64_t idle_ns
    cdef int64_t max_requests       # on one connection; UNLIMITED
    cdef int max_idle
    cdef int connections            # gauge
    cdef int cluster_connections    # gauge
    cdef int64_t connections_cap    # of the cluster's gauge; UNLIMITED
    cdef int64_t endpoint_cap       # of `connections`; UNLIMITED
    cdef Upstream newest, oldest    # idle ones: the newest is taken first, so that the others can age and go
    cdef readonly int idle
    cdef WaitingRoom room           # where others wait for a connection, or None
    cdef readonly list siblings       # all pools of the cluster, which share its cap

    cdef bint count_in(self) noexcept
    cdef bint count_in_here(self) noexcept
    cdef void count_out(self) noexcept
    cdef PyObject* one_with_idle(self) noexcept
    cdef bint close_an_idle_one(self) noexcept
    cdef bint is_full(self) noexcept
    cdef bint can_connect(self) noexcept
    cdef void unlist(self, Upstream upstream) noexcept
