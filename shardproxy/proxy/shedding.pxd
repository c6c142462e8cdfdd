# Refusing by class, before anything is spent on a request.
from shardproxy.http1.head cimport Head
from .process cimport Process
from .runtime cimport ClusterRuntime, RouteRuntime

cdef bint is_shed(Process process, ClusterRuntime cluster, RouteRuntime route, Head head) noexcept
