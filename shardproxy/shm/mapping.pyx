"""A shared, writable mapping of a file descriptor as a buffer."""

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.exc cimport PyErr_SetFromErrno

cdef extern from "<sys/mman.h>" nogil:
    const int PROT_READ, PROT_WRITE, MAP_SHARED
    void* MAP_FAILED
    void* mmap(void* wanted, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void* base, size_t length)


cdef class Mapping:
    def __cinit__(self, int fd, Py_ssize_t size):
        cdef void* base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
        if base == MAP_FAILED:
            PyErr_SetFromErrno(OSError)
        self.base = <char*>base
        self.size = size

    def __dealloc__(self):
        if self.base != NULL:
            munmap(self.base, self.size)

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self.base, self.size, 0, flags)

    def __len__(self) -> int:
        return self.size
