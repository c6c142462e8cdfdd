# What an endpoint is told of the client and of the way from it to us.
from shardproxy.http1.head cimport Head
from shardproxy.http1.splice cimport RequestAdditions
from .process cimport Process
from .runtime cimport ListenerRuntime, RouteRuntime

cdef void introduce(Process process, ListenerRuntime listener, RouteRuntime route, Head request, bint is_bodiless,
                    bytes peer, char* request_id, RequestAdditions* additions) noexcept
cdef bint accepts_upgrade(Head response, const RequestAdditions* additions) noexcept
# The path as the listener wants it, for routing and for the endpoint alike; None: as it came, or a fault.
cdef bytes normalized(Head request, ListenerRuntime listener, RequestAdditions* additions, int* fault)
