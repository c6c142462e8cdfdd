"""Sockets that are read and written here, in C, as soon as epoll says that they are ready.

A stream does for its user what asyncio's transports do for a protocol.  Left out is what costs most where connections are
short: a weak reference by descriptor, the socket's own name, which nobody asks for, and a trip through the loop to say
that a connection is there or is lost.

The user is told to pause as soon as the socket does not take all, and to go on when it has.  lost() comes soon after
close(), abort() or an error, never from within them.
"""

import os
import socket

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.bytes cimport _PyBytes_Resize
from cpython.ref cimport PyObject, Py_XDECREF
from libc.errno cimport EAGAIN, EINTR, errno
from libc.string cimport memset

from .sockets cimport (
    AF_INET, AF_INET6, FIONREAD, TIOCOUTQ, sp_end_writing, sp_peer_of, sp_queued, sp_receive, sp_reset_on_close, sp_send,
    sp_send_two
)
from .watching cimport EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, READ_BYTES

cdef extern from "Python.h":
    PyObject* PyBytes_NEW "PyBytes_FromStringAndSize"(const char* p, Py_ssize_t n)

cdef enum:
    LARGE_BYTES = 8192      # of a read, from which on the next one is made without a copy


cdef class Receiver(Timed):
    cdef void opened(self, Stream stream) noexcept:
        pass

    cdef void received(self, bytes data) noexcept:
        pass

    cdef bint ended(self) noexcept:
        return False

    cdef void blocked(self) noexcept:
        pass

    cdef void writable(self) noexcept:
        pass

    cdef void lost(self) noexcept:
        pass


def adopt(Watch watcher not None, int fd, Receiver user not None):
    cdef Stream stream = Stream.__new__(Stream)
    stream.join(watcher, fd)
    sp_peer_of(fd, &stream.peer)
    stream.attach(user)


cdef class Stream(Watched):
    def __cinit__(self):
        memset(&self.peer, 0, sizeof(self.peer))

    def __repr__(self):
        state = "lost" if self.is_lost else "closing" if self.is_shut else "open"
        return f"<Stream {self.fd} {state} held={self.held}>"

    cdef void attach(self, Receiver user) noexcept:
        self.user = user
        self.is_reading = True
        user.opened(self)
        self.set_interest()

    cdef void set_interest(self) noexcept:
        if not self.is_lost:
            self.watch((EPOLLIN if self.is_reading else 0) | (EPOLLOUT if self.backlog is not None else 0))

    # What epoll says -----------------------------------------------------------------------------------------------

    # hot
    cdef void ready(self, uint32_t mask) noexcept:
        if self.backlog is not None and mask & (EPOLLOUT | EPOLLERR | EPOLLHUP):
            self.drain()
        if self.is_lost:
            return
        if self.is_reading:
            if mask & (EPOLLIN | EPOLLERR | EPOLLHUP):
                self.take()
        elif mask & (EPOLLERR | EPOLLHUP) and self.backlog is None:
            self.forget()   # until somebody wants to read or write, and sees what it is

    # hot
    cdef void take(self) noexcept:
        """Read once; of what is left epoll tells again.

        After a large piece another is expected, and read without a copy."""
        cdef Py_ssize_t size
        if self.expected:
            self.take_large()
            return
        size = sp_receive(self.fd, self.watcher.buffer, READ_BYTES)
        if size > 0:
            self.expected = size if size >= LARGE_BYTES else 0
            self.user.received(PyBytes_FromStringAndSize(self.watcher.buffer, size))  # warm: what it gives on
        elif size == 0:
            self.meet_end()
        else:
            self.pushed(size)

    cdef void take_large(self) noexcept:
        """Into the object that goes on, which is made smaller then."""
        cdef Py_ssize_t room = min(self.expected * 2, READ_BYTES), size
        cdef PyObject* data = PyBytes_NEW(NULL, room)
        if data == NULL:
            self.abort()
            return
        size = sp_receive(self.fd, PyBytes_AS_STRING(<object>data), room)
        self.expected = size if size >= LARGE_BYTES else 0
        if size > 0 and (size == room or _PyBytes_Resize(&data, size) == 0):
            self.user.received(<bytes>data)
        elif size == 0:
            self.meet_end()
        elif size < 0:
            self.pushed(size)
        Py_XDECREF(data)

    cdef void meet_end(self) noexcept:
        self.is_reading = False
        self.has_ended = True
        self.set_interest()
        if not self.user.ended():
            self.close()

    cdef void drain(self) noexcept:
        cdef Py_ssize_t sent
        cdef const unsigned char[::1] view
        while self.backlog:
            view = self.backlog[0]
            sent = self.pushed(sp_send(self.fd, <const char*>&view[0], view.shape[0]))
            if sent < 0:
                return
            self.held -= sent
            if sent < view.shape[0]:
                self.backlog[0] = self.backlog[0][sent:]
                return
            del self.backlog[0]
        self.backlog = None
        self.drained()

    cdef void drained(self) noexcept:
        if self.is_shut:
            self.lose()
            return
        self.set_interest()
        if self.ends_writing:
            sp_end_writing(self.fd)
        if self.is_blocked:
            self.is_blocked = False
            self.user.writable()

    # The user to us ------------------------------------------------------------------------------------------------

    # hot
    cdef void send(self, const char* p, Py_ssize_t n) noexcept:
        cdef Py_ssize_t sent = 0
        if self.is_shut or self.ends_writing:
            return
        if self.backlog is None:
            sent = self.pushed(sp_send(self.fd, p, n))
        if 0 <= sent < n:
            self.hold(p[sent:n])  # warm: only what the socket does not take
            self.block()

    # hot
    cdef void send_with(self, const char* p, Py_ssize_t n, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
        cdef Py_ssize_t sent = 0
        if self.is_shut or self.ends_writing:
            return
        if self.backlog is None:
            sent = self.pushed(sp_send_two(self.fd, p, n, PyBytes_AS_STRING(data) + at, size))
        if sent < 0 or sent == n + size:
            return
        if sent < n:
            self.hold(p[sent:n])  # warm: only what the socket does not take
            sent = n
        if sent < n + size:
            self.hold(memoryview(data)[at + sent - n:at + size])  # warm: only what the socket does not take
        self.block()

    # hot
    cdef Py_ssize_t pushed(self, Py_ssize_t sent) noexcept:
        """How many bytes the socket has taken, or given; -1 = it is broken."""
        if sent >= 0:
            return sent
        if errno == EAGAIN or errno == EINTR:
            return 0
        self.abort()
        return -1

    cdef void hold(self, object rest) noexcept:
        """bytes, or a view of bytes."""
        if self.backlog is None:
            self.backlog = []
        self.backlog.append(rest)
        self.held += len(rest)

    cdef void block(self) noexcept:
        self.set_interest()
        if not self.is_blocked:
            self.is_blocked = True
            self.user.blocked()

    cdef void end_writing(self) noexcept:
        if not self.is_shut and not self.ends_writing:
            self.ends_writing = True
            if self.backlog is None:
                sp_end_writing(self.fd)

    cdef void pause(self) noexcept:
        self.is_reading = False
        self.set_interest()

    cdef void resume(self) noexcept:
        if not self.is_shut and not self.has_ended:
            self.is_reading = True
            self.set_interest()

    cdef int64_t unread(self) noexcept:
        return sp_queued(self.fd, FIONREAD) if self.fd >= 0 else 0

    cdef int64_t unsent(self) noexcept:
        return self.held + (sp_queued(self.fd, TIOCOUTQ) if self.fd >= 0 else 0)

    # Names, for whom it costs nothing to be slow -------------------------------------------------------------------

    def own_name(self):
        """The address on this side, as Python has it."""
        with socket.socket(fileno=os.dup(self.fd)) as sock:
            return sock.getsockname()

    def peer_name(self):
        """The address as Python has it; an empty text for a Unix socket."""
        if self.peer.family == AF_INET:
            return (<bytes>self.peer.host).decode(), self.peer.port
        if self.peer.family == AF_INET6:
            return (<bytes>self.peer.host).decode(), self.peer.port, self.peer.flow, self.peer.scope
        return ""

    cdef bytes peer_host(self):
        return <bytes>self.peer.host if self.peer.family == AF_INET or self.peer.family == AF_INET6 else None

    # The end -------------------------------------------------------------------------------------------------------

    cdef void close(self) noexcept:
        if self.is_shut:
            return
        self.is_shut = True
        self.is_reading = False
        if self.backlog is None:
            self.lose()
        else:
            self.set_interest()

    cdef void abort(self) noexcept:
        self.is_shut = True
        self.is_reading = False
        self.backlog = None
        self.held = 0
        self.lose()

    cdef void reset(self) noexcept:
        if self.fd >= 0:
            sp_reset_on_close(self.fd)
        self.abort()

    cdef void lose(self) noexcept:
        if not self.is_lost:
            self.is_lost = True
            self.watcher.part_with(self)

    cdef void end(self) noexcept:
        cdef Receiver user = self.user
        self.user = None
        user.lost()
