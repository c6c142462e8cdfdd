"""Finding single values in a request's head."""

from libc.stdint cimport uint32_t
from libc.string cimport memchr, memcmp

from .fields cimport Field
from .grammar cimport is_space, sp_same, trim_space


cdef Value field_value(Head head, text name, Py_ssize_t n) noexcept nogil:
    cdef uint32_t i
    cdef const Field* field
    for i in range(head.count):
        field = &head.fields[i]
        if field.name_len == n and sp_same(head.base + field.name, name, n):
            return Value(head.base + field.value, field.value_len)
    return Value(NULL, 0)


cdef Value cookie_value(Head head, text name, Py_ssize_t n) noexcept nogil:
    """Cost: the lengths of all fields, and the Cookie fields up to the answer."""
    cdef uint32_t i
    cdef const Field* field
    cdef text p
    cdef Value found
    for i in range(head.count):
        field = &head.fields[i]
        if field.name_len == 6 and sp_same(head.base + field.name, b"cookie", 6):
            p = head.base + field.value
            found = parameter(p, p + field.value_len, b';', name, n)
            if found.p != NULL:
                return found
    return Value(NULL, 0)


cdef Value query_value(Head head, text name, Py_ssize_t n) noexcept nogil:
    cdef text end = head.base + head.target + head.target_len
    cdef text question = <text>memchr(head.base + head.target, b'?', head.target_len)
    if question == NULL:
        return Value(NULL, 0)
    return parameter(question + 1, end, b'&', name, n)


cdef Value parameter(text p, text end, char separator, text name, Py_ssize_t n) noexcept nogil:
    """The value behind `name` in `name=value` pairs, without the space around it."""
    cdef text stop
    while p < end:
        while p < end and is_space(p[0]):
            p += 1
        stop = <text>memchr(p, separator, end - p)
        if stop == NULL:
            stop = end
        if stop - p >= n and memcmp(p, name, n) == 0:
            if stop - p == n:
                return Value(stop, 0)
            if p[n] == b'=':
                return Value(p + n + 1, trim_space(p + n + 1, stop) - p - n - 1)
        p = stop + 1
    return Value(NULL, 0)


def value_of(Head head not None, str kind not None, bytes name not None):
    cdef Value found
    if kind == "header":
        found = field_value(head, name, len(name))
    elif kind == "cookie":
        found = cookie_value(head, name, len(name))
    else:
        found = query_value(head, name, len(name))
    return None if found.p == NULL else found.p[:found.n]
