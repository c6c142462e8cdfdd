"""Who a request's client is to the rate limits: the one that the listener's trusted proxies vouch for."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from shardproxy.http1.forwarding cimport Hop, Ip, read_hop


# hot
cdef void ask_limits(RateLimits limits, Head request, bytes peer, ListenerRuntime listener, int64_t now_ns,
                     Verdict* verdict) noexcept:
    cdef Hop client
    client.ip.bits = 0
    if limits.needs_client:
        find_client(request, peer, listener, &client)
    limits.admit(request, &client.ip, now_ns, verdict)


cdef void charge_limits(RateLimits limits, Head request, bytes peer, ListenerRuntime listener, int64_t now_ns,
                        int64_t response_bytes) noexcept:
    cdef Hop client
    client.ip.bits = 0
    if limits.needs_client:
        find_client(request, peer, listener, &client)
    limits.charge_bytes(request, &client.ip, now_ns, response_bytes)


# hot
cdef void find_client(Head request, bytes peer, ListenerRuntime listener, Hop* client) noexcept:
    read_hop(PyBytes_AS_STRING(peer), PyBytes_GET_SIZE(peer), client)
    if listener.knows_proxies:
        listener.trusted.find_client(request, client)
