# What an endpoint is told of the client and of the way from it to us.
from shardproxy.http1.head cimport Head
from shardproxy.http1.splice cimport RequestAdditions
from .runtime cimport ListenerRuntime, RouteRuntime

cdef void describe_hops(Head request, ListenerRuntime listener, RequestAdditions* additions) noexcept
cdef void ask_upgrade(Head request, RouteRuntime route, RequestAdditions* additions) noexcept
cdef bint accepts_upgrade(Head response, const RequestAdditions* additions) noexcept
