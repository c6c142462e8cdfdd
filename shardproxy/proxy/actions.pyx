"""Route actions: weighted clusters, answers of our own, rewrites, and edits of fields.

Plain Python objects where they are in use, and one test of a field where they are not: a route without any has no action.
"""

from http import HTTPStatus

cdef enum:
    NO_KEY = 0


cdef class Split:
    def __init__(self, clusters, weights, HashPolicy sticky=None, uint64_t seed=1):
        cdef uint64_t total = 0
        shares = []
        for weight in weights:
            total += weight
            shares.append(total)
        if total == 0:
            raise ValueError("the weights of a split must not all be 0")
        self.clusters, self.shares, self.total, self.sticky = list(clusters), tuple(shares), total, sticky
        self.random = seed | 1

    cdef ClusterRuntime choose(self, Exchange exchange):
        """By chance, or by what the request is kept together by: the same key and weights give the same cluster, in every
        worker.  Cost: one look at each cluster."""
        cdef uint64_t drawn
        if self.sticky is not None and self.sticky.find_key(exchange):
            drawn = exchange.hash_key >> 11
        else:
            self.random ^= self.random >> 12
            self.random ^= self.random << 25
            self.random ^= self.random >> 27
            drawn = (self.random * <uint64_t>2685821657736338717) >> 11
        drawn %= self.total
        for cluster, end in zip(self.clusters, self.shares):
            if drawn < <uint64_t>end:
                return cluster
        return self.clusters[0]

    def draw(self, int times):
        """How often each cluster is chosen, by chance; for tests."""
        counts = dict.fromkeys([cluster.name for cluster in self.clusters], 0)
        for _ in range(times):
            counts[self.choose(None).name] += 1
        return counts


cdef class LocalAnswer:
    def __init__(self, int status, bytes body not None=b"", bytes content_type not None=b"", location=None):
        line = f"HTTP/1.1 {status} {phrase_of(status)}\r\n".encode()
        fields = b"Content-Length: %d\r\n" % len(body) if status != HTTPStatus.NO_CONTENT else b""
        if body:
            fields += b"Content-Type: %b\r\n" % content_type
        self.status, self.body, self.location = status, body, location
        self.head = line + fields


def phrase_of(status):
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


cdef class Rewrite:
    def __init__(self, *, bytes prefix=None, Py_ssize_t cut=0, pattern=None, bytes substitution not None=b"",
                 bytes host=None):
        self.prefix, self.cut, self.pattern, self.substitution, self.host = prefix, cut, pattern, substitution, host

    cdef bytes rewritten(self, bytes path):
        if self.prefix is not None:
            has_slash = self.prefix.endswith(b"/") and not path[:self.cut].endswith(b"/")
            joined = self.prefix + path[self.cut:].removeprefix(b"/" if has_slash else b"")
        else:
            joined = self.pattern.sub(self.substitution, path)
        return joined if joined.startswith(b"/") else b"/" + joined

    def of(self, bytes path not None):
        return self.rewritten(path)


cdef class RouteAction(Action):
    def __init__(self, *, Split split=None, LocalAnswer local=None, Rewrite rewrite=None, Edits request_edits=None,
                 Edits response_edits=None, Mirror mirror=None):
        self.split, self.local, self.rewrite = split, local, rewrite
        self.request_edits, self.response_edits, self.mirror = request_edits, response_edits, mirror

    cdef bint begin(self, object exchange) except -1:
        cdef Exchange asking = <Exchange>exchange
        if self.local is not None:
            self.answer(asking)
            return False
        if self.split is not None:
            asking.lead_to(self.split.choose(asking))
        if self.rewrite is not None:
            self.rewrite_path(asking)
        return True

    cdef int answer(self, Exchange exchange) except -1:
        """What the route says is the response; no endpoint is asked."""
        cdef bytes head = self.local.head
        if self.local.location is not None:
            head += b"Location: %b\r\n" % self.local.location(
                exchange.listener.scheme, host_of(exchange.request), path_of(exchange), query_of(exchange.request))
        if self.response_edits is not None:
            head += self.response_edits.lines(exchange, self.local.status)
        exchange.answer_locally(self.local.status, head, self.local.body)
        return 0

    cdef int rewrite_path(self, Exchange exchange) except -1:
        """The query goes on as it came."""
        cdef Head head = exchange.request
        if self.rewrite.prefix is not None or self.rewrite.pattern is not None:
            if exchange.path is not None or (head.path_len and head.base[head.path] == b'/'):
                exchange.set_path(self.rewrite.rewritten(path_of(exchange)))
        if self.rewrite.host is not None:
            exchange.set_host(self.rewrite.host)
        return 0

    cdef int edit_request(self, object exchange) except -1:
        cdef Exchange asking = <Exchange>exchange
        if self.mirror is not None:
            self.mirror.begin(asking)
        if self.request_edits is not None:
            self.request_edits.cut(asking.request)
            asking.set_request_lines(self.request_edits.lines(asking, 0))
        return 0

    cdef int edit_response(self, object exchange, Head head) except -1:
        cdef Exchange asking = <Exchange>exchange
        if self.response_edits is not None:
            self.response_edits.cut(head)
            asking.add_response_lines(self.response_edits.lines(asking, head.status))
        return 0


cdef bytes path_of(Exchange exchange):
    cdef Head head = exchange.request
    if exchange.path is not None:
        return exchange.path
    return head.base[head.path:head.path + head.path_len] or b"/"


cdef bytes host_of(Head head):
    return head.base[head.host:head.host + head.host_len]


cdef bytes query_of(Head head):
    """With its question mark; empty if there is none."""
    return head.base[head.path + head.path_len:head.target + head.target_len]
