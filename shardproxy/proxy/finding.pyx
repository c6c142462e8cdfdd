"""Finding the route of a request: by host and path, and then by what else the routes ask for, in their order."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM

from shardproxy.http1.faults cimport Fault
from shardproxy.http1.forwarding cimport Hop, read_hop
from shardproxy.http1.framing cimport BODY_NONE
from shardproxy.http1.grammar cimport text
from shardproxy.http1.names cimport METHOD_CONNECT
from shardproxy.routing.table cimport NOWHERE, Cursor


# hot
cdef RouteRuntime find_route(Head request, bytes path, bytes peer, ListenerRuntime listener, BodyKind body, int* fault):
    """Cost: one search of the table, and one more for each route that covers the path but asks for something else."""
    cdef text at = request.base + request.path
    cdef Py_ssize_t n = request.path_len
    cdef Cursor cursor = Cursor(0, NOWHERE)
    cdef RouteRuntime route
    if path is not None:
        at, n = PyBytes_AS_STRING(path), PyBytes_GET_SIZE(path)
    elif n == 0 or at[0] == b'*':
        at, n = b"/", 1
    while listener.table.find(request.base + request.host, request.host_len, at, n, &cursor) != NOWHERE:
        route = <RouteRuntime>PyList_GET_ITEM(listener.routes, cursor.order)
        if route.conditions is None or holds(route, request, at, n, peer, listener):
            if request.method == METHOD_CONNECT:
                fault[0] = connect_fault(route, body)
            return route
    fault[0] = Fault.NO_ROUTE
    return None


cdef int connect_fault(RouteRuntime route, BodyKind body) noexcept:
    """A tunnel by CONNECT (RFC 9110 §9.3.6): only where the route allows it, and without a body."""
    if not route.allows_upgrade(b"connect", 7):
        return Fault.CONNECT_REFUSED
    return Fault.OK if body == BODY_NONE else Fault.BAD_LENGTH


cdef bint holds(RouteRuntime route, Head request, text path, Py_ssize_t n, bytes peer, ListenerRuntime listener) noexcept:
    cdef Hop client
    client.ip.bits = 0
    if route.conditions.needs_client:
        read_hop(PyBytes_AS_STRING(peer), PyBytes_GET_SIZE(peer), &client)
        if listener.knows_proxies:
            listener.trusted.find_client(request, &client)
    return route.conditions.hold(request, path, n, &client.ip)
