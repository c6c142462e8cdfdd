# The authority of a request: Host, or what stands between `//` and the path of an absolute target.
from .grammar cimport SP_HOST, is_space, parse_digits, skip_class, sp_class, sp_hex, text


cdef inline text skip_ip_literal(text p, text end) noexcept nogil:
    """`[` 1*( HEXDIG ":" "." ) `]` (RFC 3986 §3.2.2); NULL if it is not one.  Zone identifiers are refused."""
    cdef text start = p + 1
    cdef int colons = 0
    p += 1
    while p < end and (sp_hex(p[0]) >= 0 or p[0] == b':' or p[0] == b'.'):
        colons += p[0] == b':'
        p += 1
    if p == end or p[0] != b']' or colons < 2 or colons > 7 or p - start > 45:
        return NULL
    return p + 1


cdef inline text skip_reg_name(text p, text end) noexcept nogil:
    while p < end and sp_class[<unsigned char>p[0]] & SP_HOST and p[0] != b':' and p[0] != b'[' and p[0] != b']':
        if p[0] == b'%':
            if end - p < 3 or sp_hex(p[1]) < 0 or sp_hex(p[2]) < 0 or (sp_hex(p[1]) == 0 and sp_hex(p[2]) == 0):
                return NULL
            p += 2
        p += 1
    return p


cdef inline bint is_authority(text p, text end) noexcept nogil:
    """uri-host [ ":" port ] without userinfo (RFC 9110 §7.2, §4.2.4): host not empty, port 0 to 65535 or empty."""
    cdef text after
    if p == end:
        return False
    after = skip_ip_literal(p, end) if p[0] == b'[' else skip_reg_name(p, end)
    if after == NULL or after == p:
        return False
    if after == end:
        return True
    if after[0] != b':':
        return False
    return after + 1 == end or (end - after <= 6 and 0 <= parse_digits(after + 1, end) <= 65535)


cdef inline bint has_port(text p, text end) noexcept nogil:
    """Of something that is an authority: does a port stand at its end?"""
    while end > p:
        end -= 1
        if end[0] == b':':
            return True
        if end[0] < b'0' or end[0] > b'9':
            return False
    return False


cdef inline bint same_authority(text a, Py_ssize_t a_len, text b, Py_ssize_t b_len) noexcept nogil:
    """Equal but for the case of ASCII letters (RFC 3986 §6.2.2.1)."""
    cdef Py_ssize_t i
    cdef unsigned char x, y
    if a_len != b_len:
        return False
    for i in range(a_len):
        x, y = <unsigned char>a[i], <unsigned char>b[i]
        if b'A' <= x <= b'Z':
            x |= 0x20
        if b'A' <= y <= b'Z':
            y |= 0x20
        if x != y:
            return False
    return True
