"""Introducing a client to an endpoint: who it is, whom it came through, and the protocol it would like to speak."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from shardproxy.http1.authority cimport same_authority
from shardproxy.http1.forwarding cimport BELIEF_REPLACED, BELIEF_TRUSTED, Hop, read_hop
from shardproxy.http1.head cimport Field
from shardproxy.http1.faults cimport Fault
from shardproxy.http1.paths cimport normal_path
from shardproxy.http1.names cimport FIELD_FORWARDED, FIELD_UPGRADE, FIELD_X_REQUEST_ID
from .process cimport REQUEST_ID_LENGTH

cdef enum:
    MAX_REQUEST_ID = 200        # bytes of a trusted proxy's X-Request-Id; a longer one is replaced


# hot
cdef void introduce(Process process, ListenerRuntime listener, RouteRuntime route, Head request, bint is_bodiless,
                    bytes peer, char* request_id, RequestAdditions* additions) noexcept:
    """Once for all tries; `request_id` and `peer` are kept by the exchange for as long as the additions are used."""
    process.write_request_id(request_id)
    additions.request_id = request_id
    additions.request_id_len = REQUEST_ID_LENGTH
    additions.peer = PyBytes_AS_STRING(peer)
    additions.peer_len = PyBytes_GET_SIZE(peer)
    additions.scheme = PyBytes_AS_STRING(listener.scheme)
    additions.scheme_len = PyBytes_GET_SIZE(listener.scheme)
    if listener.knows_proxies:
        describe_hops(request, listener, additions)
    if request.says_upgrade and is_bodiless:
        ask_upgrade(request, route, additions)


cdef void describe_hops(Head request, ListenerRuntime listener, RequestAdditions* additions) noexcept:
    """What the listener wants endpoints to know of the way from the client to us."""
    cdef const Field* named = request.find(FIELD_X_REQUEST_ID)
    cdef Hop client
    read_hop(additions.peer, additions.peer_len, &client)
    additions.belief = listener.trusted.belief(&client.ip)
    if additions.belief == BELIEF_TRUSTED:
        listener.trusted.find_client(request, &client)
        if named != NULL and 0 < named.value_len <= MAX_REQUEST_ID:
            additions.request_id = request.base + named.value
            additions.request_id_len = named.value_len
    additions.client, additions.client_len = client.p, client.n
    additions.forwarded = listener.forwarded
    if listener.forwarded or additions.belief == BELIEF_REPLACED:
        request.drop(FIELD_FORWARDED)
    if PyBytes_GET_SIZE(listener.client_field):
        additions.client_field = PyBytes_AS_STRING(listener.client_field)
        additions.client_field_len = PyBytes_GET_SIZE(listener.client_field)
        request.drop_named(PyBytes_AS_STRING(listener.client_field_lower), PyBytes_GET_SIZE(listener.client_field_lower))


cdef void ask_upgrade(Head request, RouteRuntime route, RequestAdditions* additions) noexcept:
    """Upgrade is hop-by-hop (RFC 9110 §7.8): it goes on only if the route allows that protocol.  For requests without a
    body."""
    cdef const Field* field = request.find(FIELD_UPGRADE)
    if field != NULL and request.minor == 1:
        if (route.allows_upgrade(request.base + field.value, field.value_len)
                and not same_authority(request.base + field.value, field.value_len, b"connect", 7)):
            additions.upgrade = request.base + field.value
            additions.upgrade_len = field.value_len


cdef bint accepts_upgrade(Head response, const RequestAdditions* additions) noexcept:
    """Is this 101 what was asked for?  (RFC 9110 §7.8)"""
    cdef const Field* field = response.find(FIELD_UPGRADE)
    return (additions.upgrade_len != 0 and field != NULL and response.says_upgrade
            and same_authority(response.base + field.value, field.value_len, additions.upgrade, additions.upgrade_len))


cdef bytes normalized(Head request, ListenerRuntime listener, RequestAdditions* additions, int* fault):
    cdef bytes path = None
    if request.path_len and request.base[request.path] == b'/':
        path = normal_path(request.base + request.path, request.path_len, &listener.path_rules, fault)
    if path is not None and fault[0] == Fault.OK:
        additions.path = <const char*>path
        additions.path_len = len(path)
    return path
