"""Edits of fields, with variables in their values.

Whatever a variable says has passed the parser of heads, or is our own: no value can end its line.
"""

VARIABLES = ("client_ip", "request_id", "host", "path", "method", "scheme", "cluster", "status")

cdef enum Variable:
    CLIENT_IP
    REQUEST_ID
    HOST
    PATH
    METHOD
    SCHEME
    CLUSTER
    STATUS


cdef class Edits:
    def __init__(self, *, set=(), add=(), remove=()):
        """`set` and `add` are pairs of a name and its value's pieces: bytes, or one of `VARIABLES`."""
        self.dropped = tuple([name.lower() for name in (*remove, *[name for name, _ in set])])
        self.added = tuple([
            (name, tuple([piece if isinstance(piece, bytes) else VARIABLES.index(piece) for piece in pieces]))
            for name, pieces in (*set, *add)
        ])

    cdef int cut(self, Head head) except -1:
        for name in self.dropped:
            head.drop_named(<bytes>name, len(name))
        return 0

    cdef bytes lines(self, Exchange exchange, int status):
        found = b""
        for name, pieces in self.added:
            value = b"".join([
                piece if isinstance(piece, bytes) else self.value(piece, exchange, status) for piece in pieces
            ])
            found += b"%b: %b\r\n" % (name, value)
        return found

    cdef bytes value(self, int variable, Exchange exchange, int status):
        cdef Head head = exchange.request
        if variable == CLIENT_IP:
            if exchange.listener.knows_proxies:
                return exchange.additions.client[:exchange.additions.client_len]
            return exchange.peer
        if variable == REQUEST_ID:
            return exchange.additions.request_id[:exchange.additions.request_id_len]
        if variable == HOST:
            return head.base[head.host:head.host + head.host_len]
        if variable == PATH:
            return head.base[head.path:head.path + head.path_len]
        if variable == METHOD:
            return head.base[:head.method_len]
        if variable == SCHEME:
            return exchange.listener.scheme
        if variable == CLUSTER:
            return b"" if exchange.cluster is None else exchange.cluster.name.encode()
        return b"%d" % status
