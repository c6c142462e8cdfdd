"""Keeping requests of one client, session or object together, where the cluster's policy is a hash.

A value is known by its hash alone, under a key that all machines share, so that all send it to the same endpoint."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memset

from shardproxy.balancing.hashes cimport KNOWN_KEY
from shardproxy.http1.forwarding cimport Hop, read_hop
from shardproxy.limits.keys cimport Key
from shardproxy.shm.siphash cimport sp_siphash13
from .process cimport REQUEST_ID_LENGTH


cdef class HashPolicy(Hashing):
    def __init__(self, sources):
        self.sources = tuple([each if isinstance(each, Cookie) else Key([each]) for each in sources])
        self.needs_client = any([isinstance(each, Key) and each.needs_client for each in self.sources])

    cdef int pick(self, object exchange) except? -2:
        """The key is found once; further tries of the same request have the same."""
        cdef Exchange asking = <Exchange>exchange
        cdef uint64_t excluded = 0 if asking.retrier is None else asking.retrier.tried
        if not asking.has_hash_key:
            self.find_key(asking)
        if not asking.has_hash_key:
            return asking.cluster.balancing.choose_except(excluded)
        return asking.cluster.balancing.choose_hashed(asking.hash_key, excluded)

    cdef bint find_key(self, Exchange exchange) except -1:
        """Cost: for each source up to the one that has a value, the look for it."""
        cdef Hop client
        cdef uint64_t key
        cdef object source
        memset(&client, 0, sizeof(client))
        if self.needs_client:
            read_hop(PyBytes_AS_STRING(exchange.peer), PyBytes_GET_SIZE(exchange.peer), &client)
            if exchange.listener.knows_proxies:
                exchange.listener.trusted.find_client(exchange.request, &client)
        for source in self.sources:
            if isinstance(source, Cookie):
                exchange.keep_hash_key((<Cookie>source).give(exchange))
                return True
            if (<Key>source).read(exchange.request, &client.ip, KNOWN_KEY, &key):
                exchange.keep_hash_key(key)
                return True
        return False


cdef class Cookie:
    def __init__(self, str name not None, str path not None, int ttl_s):
        self.name = name.encode()
        age = f"; Max-Age={ttl_s}" if ttl_s else ""
        self.attributes = f"; Path={path}{age}; HttpOnly\r\n".encode()

    cdef uint64_t give(self, Exchange exchange) except? 0:
        """A new value, which goes out with the response; the client's next requests hash to where this one goes."""
        cdef char[REQUEST_ID_LENGTH] value
        exchange.process.write_request_id(value)
        line = b"Set-Cookie: %b=%b%b" % (self.name, value[:REQUEST_ID_LENGTH], self.attributes)
        exchange.add_response_lines(line)
        return sp_siphash13(KNOWN_KEY, <const unsigned char*>value, REQUEST_ID_LENGTH)
