"""Path normalisation: one walk that writes, one that removes dot segments (RFC 3986 §5.2.4), no allocation per segment."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memchr, memcmp

from .faults cimport Fault
from .grammar cimport sp_hex, text

KINDS = {"keep": SLASHES_KEEP, "reject": SLASHES_REJECT, "unescape": SLASHES_UNESCAPE}


cdef bytes normal_path(text p, Py_ssize_t n, const PathRules* rules, int* fault):
    """Cost: nothing but a search when the path has no `%`, `.`, `\\` or `//`, which is almost always."""
    cdef bytes result
    cdef char* out
    cdef Py_ssize_t size
    if not looks_unusual(p, n):
        return None
    result = PyBytes_FromStringAndSize(NULL, n)
    out = PyBytes_AS_STRING(result)
    size = unescape(out, p, n, rules, fault)
    if fault[0] != Fault.OK:
        return None
    if rules.normalize:
        size = remove_dot_segments(out, size)
    if rules.merge_slashes:
        size = merge(out, size)
    return None if size == n and memcmp(out, p, n) == 0 else result[:size]


cdef bint looks_unusual(text p, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    if memchr(p, b'%', n) != NULL or memchr(p, b'\\', n) != NULL:
        return True
    for i in range(1, n):
        if p[i - 1] == b'/' and (p[i] == b'/' or p[i] == b'.'):
            return True
    return False


cdef bint is_unreserved(int c) noexcept nogil:
    return (b'a' <= c <= b'z' or b'A' <= c <= b'Z' or b'0' <= c <= b'9'
            or c == b'-' or c == b'.' or c == b'_' or c == b'~')


cdef Py_ssize_t unescape(char* out, text p, Py_ssize_t n, const PathRules* rules, int* fault) noexcept nogil:
    """Copy, and undo the escapes that the rules name; never longer than what came."""
    cdef Py_ssize_t i = 0, size = 0
    cdef int c
    while i < n:
        c = <unsigned char>p[i]
        if c == b'%' and n - i >= 3 and sp_hex(p[i + 1]) >= 0 and sp_hex(p[i + 2]) >= 0:
            c = sp_hex(p[i + 1]) * 16 + sp_hex(p[i + 2])
            if c == 0 and rules.normalize or (c == b'/' or c == b'\\') and rules.escaped_slashes == SLASHES_REJECT:
                fault[0] = Fault.BAD_TARGET
                return 0
            if (c == b'/' or c == b'\\') and rules.escaped_slashes == SLASHES_UNESCAPE:
                c = b'/'
            elif not (rules.normalize and is_unreserved(c)):
                out[size], out[size + 1], out[size + 2] = p[i], p[i + 1], p[i + 2]
                size += 3
                i += 3
                continue
            i += 2
        elif c == b'\\' and rules.normalize:
            c = b'/'
        elif c == b'%' and rules.normalize:
            fault[0] = Fault.BAD_TARGET     # an escape that is none
            return 0
        out[size] = <char>c
        size += 1
        i += 1
    return size


cdef Py_ssize_t remove_dot_segments(char* p, Py_ssize_t n) noexcept nogil:
    """In place; what would climb above the root stays at it."""
    cdef Py_ssize_t read = 0, write = 0, end
    while read < n:
        end = read + 1
        while end < n and p[end] != b'/':
            end += 1
        if end - read == 2 and p[read + 1] == b'.':
            if end == n:
                p[write] = b'/'
                write += 1
        elif end - read == 3 and p[read + 1] == b'.' and p[read + 2] == b'.':
            while write > 0:
                write -= 1
                if p[write] == b'/':
                    break
            if end == n:
                p[write] = b'/'
                write += 1
        else:
            while read < end:
                p[write] = p[read]
                write += 1
                read += 1
        read = end
    return write if write else one_slash(p)


cdef Py_ssize_t one_slash(char* p) noexcept nogil:
    p[0] = b'/'
    return 1


cdef Py_ssize_t merge(char* p, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t read, write = 0
    for read in range(n):
        if not (p[read] == b'/' and write and p[write - 1] == b'/'):
            p[write] = p[read]
            write += 1
    return write


def normalize(bytes path, *, bint normalize=False, bint merge_slashes=False, str escaped_slashes="keep"):
    cdef PathRules rules = PathRules(normalize=normalize, merge_slashes=merge_slashes,
                                     escaped_slashes=KINDS[escaped_slashes])
    cdef int fault = Fault.OK
    result = normal_path(path, len(path), &rules, &fault)
    if fault != Fault.OK:
        return None
    return path if result is None else result
