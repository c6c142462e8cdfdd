# Single values out of a request's head: a field's by its name, a cookie's, a query parameter's.  Nothing is copied.
from .grammar cimport text
from .head cimport Head

cdef struct Value:
    text p                  # NULL = there is none
    Py_ssize_t n

# The first field of that name (in lower case).  Cost: one comparison of lengths a field.
cdef Value field_value(Head head, text name, Py_ssize_t n) noexcept nogil
# RFC 6265 §5.4; names of cookies are case-sensitive.  Quotes belong to the value.
cdef Value cookie_value(Head head, text name, Py_ssize_t n) noexcept nogil
# As it stands in the target, not decoded: `a` in `?a=1&b`; empty for `b`.
cdef Value query_value(Head head, text name, Py_ssize_t n) noexcept nogil
