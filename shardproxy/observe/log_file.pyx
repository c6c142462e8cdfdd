"""Appending to a log without waiting for it.

O_APPEND makes each write one piece of the file, whoever else writes to it, so that workers need not know of each other.
"""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

cdef extern from "<unistd.h>" nogil:
    Py_ssize_t write(int fd, const void* data, size_t n)
    int close(int fd)

MODE = 0o640


def open_for_lines(path):
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY, MODE)


cdef class LogFile:
    def __cinit__(self, str path not None):
        self.fd = -1
        self.path = path
        self.buffer = <char*>malloc(BUFFER_BYTES)
        if self.buffer == NULL:
            raise MemoryError
        self.fd = open_for_lines(path)

    def __dealloc__(self):
        if self.fd >= 0:
            self.push()
            close(self.fd)
        free(self.buffer)

    def __repr__(self):
        return f"<LogFile {self.path} waiting={self.used}>"

    # hot
    cdef char* room(self) noexcept:
        if BUFFER_BYTES - self.used < MOST_LINE:
            self.push()
            if BUFFER_BYTES - self.used < MOST_LINE:
                return NULL
        return self.buffer + self.used

    # hot
    cdef bint add(self, Py_ssize_t n) noexcept:
        self.used += n
        return self.used == n

    # hot
    cdef void push(self) noexcept:
        """Once: what is not taken waits for the next time, so that a slow reader costs no more than a system call."""
        cdef Py_ssize_t taken
        if self.used == 0:
            return
        taken = write(self.fd, self.buffer, self.used)
        if taken > 0:
            self.used -= taken
            memmove(self.buffer, self.buffer + taken, self.used)

    def append(self, bytes line not None):
        cdef Py_ssize_t n = PyBytes_GET_SIZE(line)
        cdef char* at = self.room() if n <= MOST_LINE else NULL
        if at == NULL:
            return False
        memcpy(at, PyBytes_AS_STRING(line), n)
        self.add(n)
        return True

    def flush(self):
        self.push()

    def reopen(self):
        fd = open_for_lines(self.path)
        self.push()
        close(self.fd)
        self.fd = fd
