"""The PROXY protocol, read strictly and written.

    v1   PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\\r\\n         also TCP6; UNKNOWN names nobody
    v2   12 bytes signature, version and command, family and protocol, length (2), then addresses, ports and TLVs

Whoever speaks something else is refused at the first byte that differs, so that nobody waits for the rest of it; only
an address is judged where it ends.  A header that was refused once is refused whatever follows.
"""

from collections import namedtuple

from libc.stdint cimport uint32_t
from libc.string cimport memcmp, memcpy, memset

from .faults cimport Fault
from .forwarding cimport ADDRESS_TEXT, Ip, read_ip
from .grammar cimport ZERO, sp_hex

from shardproxy.http1.faults import NAMES

cdef extern from "<arpa/inet.h>" nogil:
    int AF_INET, AF_INET6
    const char* inet_ntop(int family, const void* source, char* destination, unsigned int size) noexcept
    int inet_pton(int family, const char* source, void* destination) noexcept

cdef enum:
    V4_TEXT = 15                # the longest IPv4 address
    SIGNATURE_BYTES = 12
    V2_LOCAL = 0x20             # version and command
    V2_PROXY = 0x21
    V2_TCP4 = 0x11              # family and protocol
    V2_TCP6 = 0x21
    TLV_HEAD_BYTES = 3
    TLV_CRC32C = 0x03           # section 2.2.3
    CRC32C_BYTES = 4
    CRC32C_POLYNOMIAL = 0x82F63B78      # Castagnoli's, lowest bit first (RFC 4960, appendix B)

cdef text SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
cdef int[4] ADDRESS_BYTES = [0, 12, 36, 216]    # of unspecified, IPv4, IPv6, Unix; with ports where there are any

Announced = namedtuple("Announced", "size source source_port destination destination_port")


cdef int scan_proxy_header(text p, Py_ssize_t n, ProxyHeader* header) noexcept nogil:
    """Which version it is shows in the first byte.  Cost: what is there is looked at anew each time, which the bounds on
    both versions keep small."""
    memset(header, 0, sizeof(ProxyHeader))
    if n <= 0:
        return Fault.NEED_MORE
    if p[0] == SIGNATURE[0]:
        return scan_v2(<const uint8_t*>p, n, header)
    return scan_v1(p, n, header)


# Version 1: each reader moves `at` behind what it has read; OK is 0, so `or` goes on while nothing stands in the way ----

cdef int scan_v1(text p, Py_ssize_t n, ProxyHeader* header) noexcept nogil:
    cdef text at = p
    cdef text end = p + min(n, MAX_V1_BYTES)
    cdef int fault = read_word(&at, end, b"PROXY ", 6)
    if fault == Fault.OK:
        header.is_local = at < end and at[0] == b'U'
        fault = read_unknown(&at, end) if header.is_local else read_ends(&at, end, header)
    header.size = at - p
    return Fault.BAD_PROXY_HEADER if fault == Fault.NEED_MORE and n >= MAX_V1_BYTES else fault


cdef int read_word(text* at, text end, text word, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t there = min(end - at[0], n)
    if memcmp(at[0], word, there) != 0:
        return Fault.BAD_PROXY_HEADER
    at[0] += there
    return Fault.OK if there == n else Fault.NEED_MORE


cdef int read_unknown(text* at, text end) noexcept nogil:
    """Anything may stand behind the word and is ignored (section 2.1), but CR and LF only end the line together."""
    cdef int fault = read_word(at, end, b"UNKNOWN", 7)
    if fault != Fault.OK:
        return fault
    if at[0] < end and at[0][0] != b' ' and at[0][0] != b'\r':
        return Fault.BAD_PROXY_HEADER
    while at[0] < end and at[0][0] != b'\r' and at[0][0] != b'\n':
        at[0] += 1
    return read_word(at, end, b"\r\n", 2)


cdef int read_ends(text* at, text end, ProxyHeader* header) noexcept nogil:
    cdef int fault = read_word(at, end, b"TCP", 3)
    if fault == Fault.OK:
        fault = read_family(at, end, &header.family)
    if fault == Fault.OK:
        fault = read_word(at, end, b" ", 1)
    if fault == Fault.OK:
        fault = read_address(at, end, header.family, header.source)
    if fault == Fault.OK:
        fault = read_address(at, end, header.family, header.destination)
    if fault == Fault.OK:
        fault = read_port(at, end, b' ', &header.source_port)
    if fault == Fault.OK:
        fault = read_port(at, end, b'\r', &header.destination_port)
    return read_word(at, end, b"\n", 1) if fault == Fault.OK else fault


cdef int read_family(text* at, text end, int* family) noexcept nogil:
    if at[0] == end:
        return Fault.NEED_MORE
    if at[0][0] != b'4' and at[0][0] != b'6':
        return Fault.BAD_PROXY_HEADER
    family[0] = at[0][0] - ZERO
    at[0] += 1
    return Fault.OK


cdef int read_address(text* at, text end, int family, uint8_t* octets) noexcept nogil:
    """An address of the family and the one space behind it."""
    cdef text stop = at[0]
    while stop < end and is_of_address(stop[0], family):
        stop += 1
    if stop - at[0] > (V4_TEXT if family == 4 else ADDRESS_TEXT):
        return Fault.BAD_PROXY_HEADER
    if stop == end:
        return Fault.NEED_MORE
    if stop[0] != b' ' or not parse_address(at[0], stop - at[0], family, octets):
        return Fault.BAD_PROXY_HEADER
    at[0] = stop + 1
    return Fault.OK


cdef bint is_of_address(char c, int family) noexcept nogil:
    return c == b'.' or b'0' <= c <= b'9' or (family == 6 and (c == b':' or sp_hex(<uint8_t>c) >= 0))


cdef bint parse_address(text p, Py_ssize_t n, int family, uint8_t* octets) noexcept nogil:
    """Not `read_ip`: here the family is given, and a mapped address stays the IPv6 one that it was sent as."""
    cdef char[ADDRESS_TEXT + 1] copy
    memcpy(copy, p, n)
    copy[n] = 0
    return inet_pton(AF_INET if family == 4 else AF_INET6, copy, octets) == 1


cdef int read_port(text* at, text end, char stop, uint16_t* port) noexcept nogil:
    """A number without needless zeros and what has to stand behind it."""
    cdef text p = at[0]
    cdef uint32_t number = 0
    while p < end and b'0' <= p[0] <= b'9':
        number = number * 10 + <uint32_t>(p[0] - ZERO)
        if number > 0xffff or (at[0][0] == b'0' and p > at[0]):
            return Fault.BAD_PROXY_HEADER
        p += 1
    if p == end:
        return Fault.NEED_MORE
    if p == at[0] or p[0] != stop:
        return Fault.BAD_PROXY_HEADER
    port[0] = <uint16_t>number
    at[0] = p + 1
    return Fault.OK


# Version 2 ---------------------------------------------------------------------------------------------------------

cdef int scan_v2(const uint8_t* p, Py_ssize_t n, ProxyHeader* header) noexcept nogil:
    """What names nobody that we know how to use counts as LOCAL (section 2.2): Unix sockets, datagrams, unspecified."""
    cdef Py_ssize_t rest, addresses
    if not is_v2_start(p, n):
        return Fault.BAD_PROXY_HEADER
    if n < V2_HEAD_BYTES:
        return Fault.NEED_MORE
    rest = p[14] << 8 | p[15]
    addresses = address_bytes(p)
    if rest > MAX_V2_REST or rest < addresses:
        return Fault.BAD_PROXY_HEADER
    header.size = V2_HEAD_BYTES + rest
    if n < header.size:
        return Fault.NEED_MORE
    if addresses and not are_tlvs(p, V2_HEAD_BYTES + addresses, header.size):
        return Fault.BAD_PROXY_HEADER
    header.is_local = addresses == 0 or (p[13] != V2_TCP4 and p[13] != V2_TCP6)
    if not header.is_local:
        read_tcp(p + V2_HEAD_BYTES, 4 if p[13] == V2_TCP4 else 6, header)
    return Fault.OK


cdef bint is_v2_start(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Can the bytes that are there so far begin a header?  The family of a LOCAL one is ignored."""
    if memcmp(p, SIGNATURE, min(n, SIGNATURE_BYTES)) != 0:
        return False
    if n > 12 and p[12] != V2_LOCAL and p[12] != V2_PROXY:
        return False
    if n > 13 and p[12] == V2_PROXY and (p[13] >> 4 > 3 or p[13] & 15 > 2):
        return False
    return n <= 14 or p[14] <= MAX_V2_REST >> 8


cdef Py_ssize_t address_bytes(const uint8_t* p) noexcept nogil:
    """How much of a header the addresses take; 0 where nothing is known of its block, which is skipped unread: LOCAL, and
    no family or no protocol."""
    return 0 if p[12] == V2_LOCAL or p[13] & 15 == 0 else ADDRESS_BYTES[p[13] >> 4]


cdef void read_tcp(const uint8_t* p, int family, ProxyHeader* header) noexcept nogil:
    cdef int size = 4 if family == 4 else 16
    header.family = family
    memcpy(header.source, p, size)
    memcpy(header.destination, p + size, size)
    p += 2 * size
    header.source_port = <uint16_t>(p[0] << 8 | p[1])
    header.destination_port = <uint16_t>(p[2] << 8 | p[3])


cdef bint are_tlvs(const uint8_t* p, Py_ssize_t at, Py_ssize_t end) noexcept nogil:
    """Type, length, value, one behind the other from `at` to the end of the header `p`.  Only a checksum's value is used;
    it has to be right, and the only one, since each would be computed with the other in it or without."""
    cdef Py_ssize_t size, checksum = 0
    while at < end:
        if end - at < TLV_HEAD_BYTES:
            return False
        size = TLV_HEAD_BYTES + (p[at + 1] << 8 | p[at + 2])
        if size > end - at:
            return False
        if p[at] == TLV_CRC32C:
            if checksum or size != TLV_HEAD_BYTES + CRC32C_BYTES:
                return False
            checksum = at + TLV_HEAD_BYTES
        at += size
    return checksum == 0 or is_checksum(p, end, checksum)


cdef bint is_checksum(const uint8_t* p, Py_ssize_t n, Py_ssize_t at) noexcept nogil:
    """Is what stands at `at` the CRC32c of the header with zeros there?  Cost: 8 steps a byte, once a connection."""
    cdef uint32_t crc = 0xffffffff
    cdef uint32_t found = <uint32_t>p[at] << 24 | p[at + 1] << 16 | p[at + 2] << 8 | p[at + 3]
    cdef Py_ssize_t i
    cdef int bit
    for i in range(n):
        if not at <= i < at + CRC32C_BYTES:
            crc ^= p[i]
        for bit in range(8):
            crc = crc >> 1 ^ (CRC32C_POLYNOMIAL if crc & 1 else 0)
    return <uint32_t>~crc == found


# Text and back -----------------------------------------------------------------------------------------------------

cdef bytes address_text(int family, const uint8_t* octets):
    cdef char[ADDRESS_TEXT + 1] buffer
    if family == 0 or inet_ntop(AF_INET if family == 4 else AF_INET6, octets, buffer, ADDRESS_TEXT + 1) == NULL:
        return b""
    return buffer


cdef bytes source_text(const ProxyHeader* header):
    return address_text(header.family, header.source)


cdef bytes destination_text(const ProxyHeader* header):
    return address_text(header.family, header.destination)


cdef bytes proxy_header(int version, bytes source, int source_port, bytes destination, int destination_port):
    cdef Ip ends[2]
    cdef int family
    if not (read_ip(source, len(source), &ends[0]) and read_ip(destination, len(destination), &ends[1])
            and 0 <= source_port <= 0xffff and 0 <= destination_port <= 0xffff):
        return b"PROXY UNKNOWN\r\n" if version == 1 else SIGNATURE[:SIGNATURE_BYTES] + b"\x20\x00\x00\x00"
    family = 4 if ends[0].bits == ends[1].bits == 32 else 6
    octets = octets_as(&ends[0], family), octets_as(&ends[1], family)
    if version == 1:
        return b"PROXY TCP%d %s %s %d %d\r\n" % (family, address_text(family, octets[0]), address_text(family, octets[1]),
                                                 source_port, destination_port)
    rest = b"".join((*octets, source_port.to_bytes(2, "big"), destination_port.to_bytes(2, "big")))
    return b"%s%c%c\x00%c%s" % (SIGNATURE[:SIGNATURE_BYTES], V2_PROXY, V2_TCP4 if family == 4 else V2_TCP6,
                                len(rest), rest)


cdef bytes octets_as(const Ip* ip, int family):
    """An IPv4 address beside an IPv6 one is written as a mapped one."""
    if family == 4:
        return ip.octets[:4]
    return ip.octets[:16] if ip.bits == 128 else bytes(10) + b"\xff\xff" + ip.octets[:4]


# For tests ---------------------------------------------------------------------------------------------------------

def scan(bytes data not None):
    cdef ProxyHeader found
    cdef int fault = scan_proxy_header(data, len(data), &found)
    if fault != Fault.OK:
        return NAMES[fault]
    return Announced(found.size, source_text(&found), found.source_port, destination_text(&found),
                     found.destination_port)


def header(int version, bytes source not None, int source_port, bytes destination not None, int destination_port):
    return proxy_header(version, source, source_port, destination, destination_port)
