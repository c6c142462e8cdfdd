# Paths that different servers may read differently, made one (RFC 3986 §6.2.2). Off by default, as in Envoy.
from .grammar cimport text

cdef enum EscapedSlashes:
    SLASHES_KEEP = 0        # %2F and %5C stay as they are
    SLASHES_REJECT          # 400
    SLASHES_UNESCAPE        # they become /

cdef struct PathRules:
    bint normalize          # dot segments removed, unreserved characters unescaped, \ to /, %00 refused
    bint merge_slashes      # // becomes /
    EscapedSlashes escaped_slashes

# The path after the rules, or None if they change nothing; `fault` is set when they refuse it.
cdef bytes normal_path(text p, Py_ssize_t n, const PathRules* rules, int* fault)
