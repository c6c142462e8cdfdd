# Which route takes a request.
from shardproxy.http1.framing cimport BodyKind
from shardproxy.http1.head cimport Head
from .runtime cimport ListenerRuntime, RouteRuntime

# `path` is the normalised one, or None: as it came.  `fault` is set if no route takes it, or its route not what it asks.
cdef RouteRuntime find_route(Head request, bytes path, bytes peer, ListenerRuntime listener, BodyKind body, int* fault)
