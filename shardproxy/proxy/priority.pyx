"""The class of a request in a queue: its route's, or the one that a field of the request names."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t

from shardproxy.http1.grammar cimport sp_same
from shardproxy.http1.head cimport Field, Head

CLASSES = ("high", "normal", "low")


cdef int rank_of(RouteRuntime route, Head head) noexcept:
    """Cost: the number of fields, where the route names one; a word that is no class counts for nothing."""
    cdef const char* name = PyBytes_AS_STRING(route.priority_field)
    cdef Py_ssize_t n = PyBytes_GET_SIZE(route.priority_field)
    cdef const Field* field
    cdef uint32_t i
    cdef int named = -1
    if n == 0:
        return route.priority
    for i in range(head.count):
        field = &head.fields[i]
        if field.name_len == n and sp_same(head.base + field.name, name, n):
            named = class_named(head.base + field.value, field.value_len)
            break
    return route.priority if named < 0 else named


cdef int class_named(const char* word, Py_ssize_t n) noexcept:
    if n == 4 and sp_same(word, b"high", 4):
        return 0
    if n == 6 and sp_same(word, b"normal", 6):
        return 1
    return LOWEST if n == 3 and sp_same(word, b"low", 3) else -1
