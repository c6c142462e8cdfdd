"""Keys of limits.  A key is never stored or copied: what counts is its hash under the segment's secret (SipHash), so
nobody can choose keys that meet others in the table."""

from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcmp, memcpy

from shardproxy.http1.forwarding cimport read_ip
from shardproxy.http1.values cimport cookie_value, field_value, query_value
from shardproxy.shm.siphash cimport sp_siphash13

SOURCES = {"client": KEY_CLIENT, "header": KEY_HEADER, "cookie": KEY_COOKIE, "query": KEY_QUERY, "path": KEY_PATH}

cdef enum:
    ADDRESS_ROOM = 17           # the family and 16 octets


cdef class Key:
    def __init__(self, parts):
        if not 0 < len(parts) <= MOST_PARTS:
            raise ValueError(f"a key has 1 to {MOST_PARTS} parts, not {len(parts)}")
        self.names = tuple([name.lower() if source == "header" else name for source, name, _, _ in parts])
        for source, _, ipv4, ipv6 in parts:
            name = self.names[self.count]
            self.parts[self.count].source = SOURCES[source]
            self.parts[self.count].name = <bytes>name
            self.parts[self.count].name_len = len(name)
            self.parts[self.count].ipv4, self.parts[self.count].ipv6 = ipv4, ipv6
            self.needs_client = self.needs_client or source == "client"
            self.count += 1

    cdef bint read(self, Head head, const Ip* client, const uint64_t* secret, uint64_t* hashed) noexcept nogil:
        """Cost: for each part the look for it, and about 1 ns a byte."""
        cdef unsigned char[ADDRESS_ROOM] room
        cdef uint64_t[2] joined
        cdef Value value
        cdef int i
        for i in range(self.count):
            value = self.value(&self.parts[i], head, client, room)
            if value.p == NULL:
                return False
            joined[1] = sp_siphash13(secret, <const unsigned char*>value.p, value.n)
            joined[0] = joined[1] if i == 0 else sp_siphash13(secret, <const unsigned char*>joined, sizeof(joined))
        hashed[0] = joined[0]
        return True

    cdef Value value(self, const KeyPart* part, Head head, const Ip* client, unsigned char* room) noexcept nogil:
        if part.source == KEY_HEADER:
            return field_value(head, part.name, part.name_len)
        if part.source == KEY_COOKIE:
            return cookie_value(head, part.name, part.name_len)
        if part.source == KEY_QUERY:
            return query_value(head, part.name, part.name_len)
        if part.source == KEY_PATH:
            return segment_behind(head, part.name, part.name_len)
        if client.bits == 0:
            return Value(NULL, 0)
        return network_of(client, part.ipv4 if client.bits == 32 else part.ipv6, room)

    def hash_of(self, bytes secret not None, *values):
        cdef unsigned char[ADDRESS_ROOM] room
        cdef const uint64_t* words = <const uint64_t*><const char*>secret
        cdef uint64_t[2] joined
        cdef Value value
        cdef Ip ip
        cdef int i
        for i in range(self.count):
            value = Value(<bytes>values[i], len(values[i]))
            if self.parts[i].source == KEY_CLIENT:
                read_ip(value.p, value.n, &ip)
                value = self.value(&self.parts[i], None, &ip, room)
            joined[1] = sp_siphash13(words, <const unsigned char*>value.p, value.n)
            joined[0] = joined[1] if i == 0 else sp_siphash13(words, <const unsigned char*>joined, sizeof(joined))
        return joined[0]


cdef Value segment_behind(Head head, text start, Py_ssize_t n) noexcept nogil:
    """The path's segment behind `start`; whatever follows it does not matter."""
    cdef text p = head.base + head.path
    cdef text end = p + head.path_len, stop
    if end - p <= n or memcmp(p, start, n) != 0:
        return Value(NULL, 0)
    stop = <text>memchr(p + n, b'/', end - p - n)
    if stop == NULL:
        stop = end
    return Value(NULL, 0) if stop == p + n else Value(p + n, stop - p - n)


cdef Value network_of(const Ip* client, int bits, unsigned char* room) noexcept nogil:
    """The address's first bits, behind its family: a /32 of IPv4 is not the same as one of IPv6."""
    cdef int i, whole = bits // 8
    room[0] = <unsigned char>client.bits
    memcpy(room + 1, client.octets, 16)
    for i in range(whole, 16):
        room[1 + i] = 0
    if bits % 8:
        room[1 + whole] = client.octets[whole] & <uint8_t>(0xff << (8 - bits % 8))
    return Value(<text>room, ADDRESS_ROOM)
