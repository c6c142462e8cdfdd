# A shared mapping of a file descriptor, and the address of a view into it.
from cpython.memoryview cimport PyMemoryView_GET_BUFFER


cdef class Mapping:
    cdef char* base
    cdef Py_ssize_t size


cdef inline char* address(object view) except NULL:
    """Where a `memoryview` begins. The address is good for as long as the view is kept."""
    if not isinstance(view, memoryview):
        raise TypeError("a part of a segment must be a memoryview")
    return <char*>PyMemoryView_GET_BUFFER(view).buf
