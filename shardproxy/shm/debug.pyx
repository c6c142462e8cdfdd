"""Asserts and counts of live objects, for builds with SP_DEBUG=1."""

from libc.stdio cimport fflush, fprintf, stderr
from libc.stdlib cimport abort

NAMES = ("streams", "clients", "upstreams", "connectors", "exchanges", "retries", "hedges", "waiters", "heads")
IS_DEBUG = bool(SP_DEBUG)


cdef void violated(const char* what) noexcept nogil:
    fprintf(stderr, b"shardproxy: assertion failed: %s\n", what)
    fflush(stderr)
    abort()


def live_objects():
    """How many of each kind are alive, by name; without those that are 0, so empty in a build without SP_DEBUG."""
    return {name: alive[i] for i, name in enumerate(NAMES) if alive[i]}
