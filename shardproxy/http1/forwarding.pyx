"""The client's address behind trusted proxies.

    X-Forwarded-For: 203.0.113.9, 10.1.0.7        peer: 10.1.0.8
                     ^ the client  ^ trusted             ^ trusted

By networks, as nginx's `real_ip_recursive` and Envoy's `xff_trusted_cidrs` do it: from the right, the first address that
is none of our proxies.  By number, as Envoy's `xff_num_trusted_hops`: of N proxies the one at the edge wrote the N-th
entry from the right.  What stands further left could have been written by anybody and is never looked at.
"""

import ipaddress

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcmp, memcpy, memset

from .grammar cimport is_space, trim_space
from .names cimport FIELD_X_FORWARDED_FOR

cdef extern from "<arpa/inet.h>" nogil:
    int AF_INET, AF_INET6
    int inet_pton(int family, const char* source, void* destination) noexcept

cdef const unsigned char* MAPPED = b"\0\0\0\0\0\0\0\0\0\0\xff\xff"   # ::ffff:0:0/96 (RFC 4291 §2.5.5.2)


cdef bint read_ip(text p, Py_ssize_t n, Ip* ip) noexcept nogil:
    """The address that the text is, and nothing but it; an IPv4-mapped one counts as IPv4."""
    cdef char[46] buffer
    ip.bits = 0
    if n <= 0 or n > ADDRESS_TEXT or memchr(p, 0, n) != NULL:
        return False
    memcpy(buffer, p, n)
    buffer[n] = 0
    memset(ip.octets, 0, 16)
    if inet_pton(AF_INET, buffer, ip.octets) == 1:
        ip.bits = 32
    elif inet_pton(AF_INET6, buffer, ip.octets) == 1:
        ip.bits = 128
        if memcmp(ip.octets, MAPPED, 12) == 0:
            memcpy(ip.octets, ip.octets + 12, 4)
            memset(ip.octets + 4, 0, 12)
            ip.bits = 32
    return ip.bits != 0


cdef bint read_hop(text p, Py_ssize_t n, Hop* hop) noexcept nogil:
    """An entry of X-Forwarded-For: an address, which some proxies write with brackets or with a port."""
    cdef Py_ssize_t i, colons = 0
    if n and p[0] == b'[':
        p += 1
        for i in range(n - 1):
            if p[i] == b']':
                n = i
                break
    else:
        for i in range(n):
            colons += p[i] == b':'
        if colons == 1:
            while p[n - 1] != b':':
                n -= 1
            n -= 1
    hop.p, hop.n = p, n
    return read_ip(p, n, &hop.ip)


cdef bint is_within(const Ip* ip, const Network* network) noexcept nogil:
    cdef int whole = network.prefix // 8, rest = network.prefix % 8
    if ip.bits != network.ip.bits or memcmp(ip.octets, network.ip.octets, whole) != 0:
        return False
    return rest == 0 or (ip.octets[whole] ^ network.ip.octets[whole]) >> (8 - rest) == 0


cdef class TrustedProxies:
    def __init__(self, networks=(), int hops=0):
        cdef int i
        found = [ipaddress.ip_network(one) for one in networks]
        self.hops = hops
        self.networks = <Network*>calloc(max(len(found), 1), sizeof(Network))
        if self.networks == NULL:
            raise MemoryError
        for i, one in enumerate(found):
            packed = one.network_address.packed
            memcpy(self.networks[i].ip.octets, <const char*>packed, len(packed))
            self.networks[i].ip.bits = one.max_prefixlen
            self.networks[i].prefix = one.prefixlen
        self.count = len(found)

    def __dealloc__(self):
        free(self.networks)

    cdef bint includes(self, const Ip* ip) noexcept nogil:
        """Cost: one comparison a network."""
        cdef int i
        for i in range(self.count):
            if is_within(ip, &self.networks[i]):
                return True
        return False

    cdef Belief belief(self, const Ip* peer) noexcept nogil:
        if self.hops or self.includes(peer):
            return BELIEF_TRUSTED
        return BELIEF_NONE_ASKED if self.count == 0 else BELIEF_REPLACED

    cdef void find_client(self, Head head, Hop* client) noexcept:
        """Change `client`, which is the peer, to who stands behind it.  An entry that is no address ends the search:
        nothing left of it can be believed.  With too few entries for the number of hops the peer itself is the client
        (Envoy does the same).  Cost: the entries up to the answer."""
        cdef Hop hop
        cdef int64_t left = self.hops
        cdef uint32_t i = head.count
        cdef text p
        cdef text start
        if left == 0 and not self.includes(&client.ip):
            return
        while i > 0:
            i -= 1
            if head.fields[i].kind != <int>FIELD_X_FORWARDED_FOR:
                continue
            start = head.base + head.fields[i].value
            p = start + head.fields[i].value_len
            while p > start:
                p = last_entry(start, p, &hop)
                if hop.n == 0:
                    continue
                if not read_hop(hop.p, hop.n, &hop):
                    return
                left -= 1
                if left == 0 or left < 0 and not self.includes(&hop.ip):
                    client[0] = hop
                    return
                if left < 0:
                    client[0] = hop

    def trusts(self, bytes peer not None):
        cdef Ip ip
        read_ip(peer, len(peer), &ip)
        return self.belief(&ip) == BELIEF_TRUSTED

    def client_of(self, Head head not None, bytes peer not None):
        cdef Hop client
        read_hop(peer, len(peer), &client)
        self.find_client(head, &client)
        return client.p[:client.n]


cdef text last_entry(text start, text end, Hop* hop) noexcept nogil:
    """The last entry of a list, without the space around it; gives where the list before it ends."""
    cdef text p = end
    while p > start and (p - 1)[0] != b',':
        p -= 1
    hop.p = p
    while hop.p < end and is_space(hop.p[0]):
        hop.p += 1
    hop.n = trim_space(hop.p, end) - hop.p
    return p - 1 if p > start else start
