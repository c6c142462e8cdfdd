"""Appending to a log without waiting for it.

O_APPEND makes each write one piece of the file, whoever else writes to it, so that workers need not know of each other.
"""

import logging
import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EDQUOT, EFBIG, EINTR, ENOSPC, errno
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove
from posix.fcntl cimport O_APPEND, O_CREAT, O_NOCTTY, O_NONBLOCK, O_WRONLY, open as open_file
from posix.stat cimport fstat, struct_stat

from shardproxy.shm.clock cimport now_ns

cdef extern from "<fcntl.h>" nogil:
    const int O_CLOEXEC

cdef extern from "<unistd.h>" nogil:
    Py_ssize_t write(int fd, const void* data, size_t n)
    int close(int fd)

cdef enum:
    MODE = 0o640
    COMPLAIN_NS = 60_000_000_000    # between two lines of the program's log

logger = logging.getLogger(__name__)


cdef int open_for_lines(bytes path) noexcept:
    """Never waits: a named pipe without a reader is an error (ENXIO)."""
    return open_file(PyBytes_AS_STRING(path), O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, MODE)


cdef class LogFile:
    def __cinit__(self, str path not None, *, bint must_open=True):
        self.fd = -1
        self.path, self.c_path = path, os.fsencode(path)
        self.buffer = <char*>malloc(BUFFER_BYTES)
        if self.buffer == NULL:
            raise MemoryError
        self.fd = open_for_lines(self.c_path)
        if self.fd < 0:
            if must_open:
                raise OSError(errno, os.strerror(errno), path)
            self.retry_ns = now_ns() + RETRY_NS
            self.failed(errno)

    def __dealloc__(self):
        if self.fd >= 0:
            self.push()
        if self.fd >= 0:
            close(self.fd)
        free(self.buffer)

    def __repr__(self):
        return f"<LogFile {self.path} waiting={self.used} lost={self.lost}>"

    # hot
    cdef char* room(self) noexcept:
        if BUFFER_BYTES - self.used < MOST_LINE:
            self.push()
            if BUFFER_BYTES - self.used < MOST_LINE:
                self.lose()
                return NULL
        return self.buffer + self.used

    # hot
    cdef void add(self, Py_ssize_t n) noexcept:
        self.used += n

    # hot
    cdef void push(self) noexcept:
        """Once: what is not taken waits for the next time, so that a slow reader costs no more than a system call."""
        cdef Py_ssize_t taken
        if self.used == 0:
            return
        if (self.fd < 0 or self.is_stale or self.is_gone()) and now_ns() >= self.retry_ns:
            self.open_anew()
        if self.fd < 0:
            return
        taken = write(self.fd, self.buffer, self.used)
        if taken > 0:
            self.used -= taken
            memmove(self.buffer, self.buffer + taken, self.used)
            self.error = EAGAIN if self.used else 0
            if self.has_complained and not self.is_stale and self.used == 0:
                self.revoke()
        elif taken < 0:
            self.failed(errno)

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
        return self.used

    def retry(self):
        if self.error:
            self.push()

    def reopen(self):
        self.push()
        self.open_anew()

    # What goes wrong -----------------------------------------------------------------------------------------------

    cdef bint is_gone(self) noexcept:
        """Somebody has removed the file: what is written there is lost, though nobody is told."""
        cdef struct_stat found
        return fstat(self.fd, &found) == 0 and found.st_nlink == 0

    cdef void open_anew(self) noexcept:
        cdef int fd = open_for_lines(self.c_path)
        self.retry_ns = now_ns() + RETRY_NS
        self.is_stale = fd < 0
        if fd < 0:
            self.failed(errno)
            return
        if self.fd >= 0:
            close(self.fd)
        self.fd = fd

    cdef void failed(self, int error) noexcept:
        """A slow reader and a full disk are waited for; all else is opened again."""
        self.error = error
        if error == EAGAIN or error == EINTR:
            return
        if self.fd >= 0 and not self.is_stale and error not in (ENOSPC, EDQUOT, EFBIG):
            close(self.fd)
            self.fd = -1
        self.complain()

    cdef void lose(self) noexcept:
        self.lost += 1
        self.complain()

    # boundary
    cdef void complain(self) noexcept:
        """To the program's log, once a minute."""
        cdef int64_t now = now_ns()
        if now < self.complain_ns:
            return
        self.complain_ns = now + COMPLAIN_NS
        self.has_complained = True
        try:
            logger.error(
                "access log %s cannot be %s: %s; %d of its lines have been left out so far, and %d bytes wait; %s",
                self.path, "opened" if self.fd < 0 or self.is_stale else "written", os.strerror(self.error), self.lost,
                self.used, "the file that was open is written on, and opening is tried every second" if self.is_stale
                and self.fd >= 0 else "writing is tried again every second",
            )
        except Exception:
            pass    # no memory for that

    # boundary
    cdef void revoke(self) noexcept:
        self.has_complained = False
        self.complain_ns = 0
        try:
            logger.warning("access log %s is written again; %d of its lines have been left out so far", self.path,
                           self.lost)
        except Exception:
            pass    # as above
