# Which route takes a request.
from shardproxy.http1.head cimport Head
from .runtime cimport ListenerRuntime, RouteRuntime

# `path` is the normalised one, or None: as it came.  None: no route takes it.
cdef RouteRuntime find_route(Head request, bytes path, bytes peer, ListenerRuntime listener)
