# What a route does with a request besides sending it to one cluster as it is.
from libc.stdint cimport int64_t, uint64_t

from shardproxy.http1.head cimport Head
from .edits cimport Edits
from .ends cimport Action
from .exchange cimport Exchange
from .hashing cimport HashPolicy
from .mirror cimport Mirror
from .runtime cimport ClusterRuntime

# One of several clusters, by weight.
cdef class Split:
    cdef list clusters          # of ClusterRuntime
    cdef tuple shares           # where each one's part of `total` ends
    cdef uint64_t total
    cdef HashPolicy sticky      # what keeps requests together, or None
    cdef uint64_t random

    cdef ClusterRuntime choose(self, Exchange exchange)

# An answer of our own: a redirect, or a response that is written in the configuration.
cdef class LocalAnswer:
    cdef int status
    cdef bytes head             # status line and fields
    cdef bytes body
    cdef object location        # of a redirect: a function of the request's scheme, host, path and query; or None

cdef class Rewrite:
    cdef bytes prefix           # in place of the first `cut` bytes of the path; or None
    cdef Py_ssize_t cut
    cdef object pattern         # or None
    cdef bytes substitution
    cdef bytes host             # or None

    cdef bytes rewritten(self, bytes path)

cdef class RouteAction(Action):
    cdef Split split            # each of these or None
    cdef LocalAnswer local
    cdef Rewrite rewrite
    cdef Mirror mirror
    cdef Edits request_edits
    cdef Edits response_edits

    cdef int answer(self, Exchange exchange) except -1
    cdef int rewrite_path(self, Exchange exchange) except -1
