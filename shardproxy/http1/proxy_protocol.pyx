"""The PROXY protocol, read strictly and written.

    v1   PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\\r\\n         also TCP6; UNKNOWN names nobody
    v2   12 bytes signature, version and command, family, length (2), then addresses, ports and TLVs

Whoever speaks something else is refused at the first byte that differs, so that nobody waits for the rest of it.
"""

from collections import namedtuple

from libc.stdint cimport int64_t
from libc.string cimport memchr, memcmp, memcpy, memset

from .faults cimport Fault
from .forwarding cimport ADDRESS_TEXT, Ip, read_ip
from .grammar cimport parse_digits

from shardproxy.http1.faults import NAMES

cdef extern from "<arpa/inet.h>" nogil:
    int AF_INET, AF_INET6
    const char* inet_ntop(int family, const void* source, char* destination, unsigned int size) noexcept

cdef enum:
    V1_PREFIX_BYTES = 6
    SIGNATURE_BYTES = 12
    V2_LOCAL = 0x20             # version and command
    V2_PROXY = 0x21
    V2_TCP4 = 0x11              # family and protocol
    V2_TCP6 = 0x21
    TLV_HEAD_BYTES = 3

cdef text V1_PREFIX = b"PROXY "
cdef text SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

Announced = namedtuple("Announced", "size source source_port destination destination_port")


cdef int scan_proxy_header(text p, Py_ssize_t n, ProxyHeader* header) noexcept nogil:
    """Which version it is shows in the first byte.  Cost: the header is looked at once it is complete."""
    memset(header, 0, sizeof(ProxyHeader))
    if n == 0:
        return Fault.NEED_MORE
    if p[0] == SIGNATURE[0]:
        return scan_v2(p, n, header)
    return scan_v1(p, n, header)


# Version 1 ---------------------------------------------------------------------------------------------------------

cdef int scan_v1(text p, Py_ssize_t n, ProxyHeader* header) noexcept nogil:
    cdef text end
    if memcmp(p, V1_PREFIX, min(n, V1_PREFIX_BYTES)) != 0:
        return Fault.BAD_PROXY_HEADER
    end = <text>memchr(p, b'\n', min(n, MAX_V1_BYTES))
    if end == NULL:
        return Fault.NEED_MORE if n < MAX_V1_BYTES else Fault.BAD_PROXY_HEADER
    if (end - 1)[0] != b'\r':
        return Fault.BAD_PROXY_HEADER
    header.size = end + 1 - p
    return read_v1(p + V1_PREFIX_BYTES, end - 1, header)


cdef int read_v1(text p, text end, ProxyHeader* header) noexcept nogil:
    """What stands between `PROXY ` and the end of the line.  Behind UNKNOWN anything may stand (section 2.1)."""
    cdef bint is_tcp4 = end - p > 5 and memcmp(p, b"TCP4 ", 5) == 0
    if end - p >= 7 and memcmp(p, b"UNKNOWN", 7) == 0 and (end - p == 7 or p[7] == b' '):
        header.is_local = True
        return Fault.OK
    if not is_tcp4 and not (end - p > 5 and memcmp(p, b"TCP6 ", 5) == 0):
        return Fault.BAD_PROXY_HEADER
    header.family = 4 if is_tcp4 else 6
    p += 5
    if (read_address(&p, end, header.family, header.source) and read_address(&p, end, header.family, header.destination)
            and read_port(&p, end, b' ', &header.source_port) and read_port(&p, end, b'\r', &header.destination_port)):
        return Fault.OK
    return Fault.BAD_PROXY_HEADER


cdef bint read_address(text* at, text end, int family, uint8_t* octets) noexcept nogil:
    """An address of the family and the one space behind it."""
    cdef text p = at[0]
    cdef text stop = <text>memchr(p, b' ', end - p)
    cdef Ip ip
    if stop == NULL or (memchr(p, b':', stop - p) != NULL) != (family == 6) or not read_ip(p, stop - p, &ip):
        return False
    if family == 6 and ip.bits == 32:       # an IPv4-mapped one
        memset(octets + 10, 0xff, 2)
        memcpy(octets + 12, ip.octets, 4)
    else:
        memcpy(octets, ip.octets, 16)
    at[0] = stop + 1
    return True


cdef bint read_port(text* at, text end, char stop, uint16_t* port) noexcept nogil:
    """A number without needless zeros, and what has to stand behind it (the line's end counts as `\\r`)."""
    cdef text p = at[0]
    cdef text close = end if stop == b'\r' else <text>memchr(p, stop, end - p)
    cdef int64_t number
    if close == NULL or close - p > 5 or (p[0] == b'0' and close - p > 1):
        return False
    number = parse_digits(p, close)
    if number < 0 or number > 65535:
        return False
    port[0] = <uint16_t>number
    at[0] = close + 1
    return True


# Version 2 ---------------------------------------------------------------------------------------------------------

cdef int scan_v2(text p, Py_ssize_t n, ProxyHeader* header) noexcept nogil:
    """LOCAL, and PROXY for families that are not TCP over IP, name nobody that we know how to use (section 2.2)."""
    cdef const uint8_t* byte = <const uint8_t*>p
    cdef Py_ssize_t rest, addresses
    if memcmp(p, SIGNATURE, min(n, SIGNATURE_BYTES)) != 0:
        return Fault.BAD_PROXY_HEADER
    if n > 12 and byte[12] != V2_LOCAL and byte[12] != V2_PROXY:
        return Fault.BAD_PROXY_HEADER
    if n < V2_HEAD_BYTES:
        return Fault.NEED_MORE
    rest = byte[14] << 8 | byte[15]
    if rest > MAX_V2_REST:
        return Fault.BAD_PROXY_HEADER
    if n < V2_HEAD_BYTES + rest:
        return Fault.NEED_MORE
    header.size = V2_HEAD_BYTES + rest
    if byte[12] == V2_LOCAL or (byte[13] != V2_TCP4 and byte[13] != V2_TCP6):
        header.is_local = True
        return Fault.OK
    header.family = 4 if byte[13] == V2_TCP4 else 6
    addresses = 12 if header.family == 4 else 36
    if rest < addresses or not are_tlvs(byte + V2_HEAD_BYTES + addresses, rest - addresses):
        return Fault.BAD_PROXY_HEADER
    read_v2(byte + V2_HEAD_BYTES, header)
    return Fault.OK


cdef void read_v2(const uint8_t* p, ProxyHeader* header) noexcept nogil:
    cdef int size = 4 if header.family == 4 else 16
    memcpy(header.source, p, size)
    memcpy(header.destination, p + size, size)
    p += 2 * size
    header.source_port = <uint16_t>(p[0] << 8 | p[1])
    header.destination_port = <uint16_t>(p[2] << 8 | p[3])


cdef bint are_tlvs(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Type, length, value, one behind the other up to the end; what they say is not used."""
    cdef Py_ssize_t size
    while n:
        if n < TLV_HEAD_BYTES:
            return False
        size = TLV_HEAD_BYTES + (p[1] << 8 | p[2])
        if size > n:
            return False
        p += size
        n -= size
    return True


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
    cdef bint is_known = read_ip(source, len(source), &ends[0]) and read_ip(destination, len(destination), &ends[1])
    cdef int family = 4 if is_known and ends[0].bits == ends[1].bits == 32 else 6
    if not is_known:
        return b"PROXY UNKNOWN\r\n" if version == 1 else SIGNATURE[:SIGNATURE_BYTES] + b"\x20\x00\x00\x00"
    octets = octets_as(&ends[0], family), octets_as(&ends[1], family)
    ports = source_port, destination_port
    if version == 1:
        words = tuple(address_text(family, octet) for octet in octets)
        return b"PROXY TCP%d %s %s %d %d\r\n" % (family, *words, *ports)
    rest = b"".join((*octets, *(port.to_bytes(2, "big") for port in ports)))
    return b"".join((SIGNATURE[:SIGNATURE_BYTES], b"\x21", b"\x11" if family == 4 else b"\x21",
                     len(rest).to_bytes(2, "big"), rest))


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
