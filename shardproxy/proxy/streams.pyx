"""Sockets that are read and written here, in C, as soon as epoll says that they are ready.

A stream does for its user what asyncio's transports do for a protocol.  Left out is what costs most where connections are
short: a weak reference by descriptor, the socket's own name, which nobody asks for, and a trip through the loop to say
that a connection is there or is lost.

The user is told to pause as soon as the socket does not take all, and to go on when it has.  lost() comes soon after
close(), abort() or an error, never from within them.
"""

import socket

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.bytes cimport _PyBytes_Resize
from cpython.ref cimport PyObject, Py_XDECREF
from libc.errno cimport EAGAIN, EINTR, errno
from libc.string cimport memset

from shardproxy.http1.faults cimport Fault
from shardproxy.shm.debug cimport STREAMS, born, gone
from .boundary cimport report
from .sockets cimport (
    AF_INET, AF_INET6, FIONREAD, TIOCOUTQ, sp_close, sp_end_writing, sp_peer_of, sp_queued, sp_receive, sp_reset_on_close, sp_send,
    sp_send_two
)
from .watching cimport EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, READ_BYTES

cdef extern from "Python.h":
    PyObject* PyBytes_NEW "PyBytes_FromStringAndSize"(const char* p, Py_ssize_t n) except NULL

cdef enum:
    LARGE_BYTES = 8192      # of a read, from which on the next one is made without a copy


cdef class Receiver(Timed):
    cdef int opened(self, Stream stream) except -1:
        return 0

    cdef int received(self, bytes data) except -1:
        return 0

    cdef bint ended(self) except -1:
        return False

    cdef void blocked(self) noexcept:
        pass

    cdef int writable(self) except -1:
        return 0

    cdef int lost(self) except -1:
        return 0


cdef Stream stream_of(Watch watcher, int fd):
    """Of a connected socket, which is closed with it, or at once if there is no memory for a stream."""
    cdef Stream stream
    try:
        stream = Stream.__new__(Stream)
    except BaseException:
        sp_close(fd)
        raise
    stream.join(watcher, fd)
    born(STREAMS)
    return stream


def adopt(Watch watcher not None, int fd, Receiver user not None):
    cdef Stream stream = stream_of(watcher, fd)
    sp_peer_of(fd, &stream.peer)
    try:
        stream.attach(user)
    except BaseException as error:
        stream.crashed(report(error, stream))


cdef class Stream(Watched):
    def __cinit__(self):
        memset(&self.peer, 0, sizeof(self.peer))
        self.fault = Fault.OK

    def __repr__(self):
        state = "lost" if self.is_lost else "closing" if self.is_shut else "open"
        return f"<Stream {self.fd} {state} held={self.held}>"

    cdef int attach(self, Receiver user) except -1:
        self.user = user
        self.is_reading = True
        user.opened(self)
        self.set_interest()
        return 0

    cdef void set_interest(self) noexcept:
        """A stream that the kernel does not watch would wait for ever, so it ends."""
        cdef uint32_t wanted = (EPOLLIN if self.is_reading else 0) | (EPOLLOUT if self.backlog is not None else 0)
        if not self.is_lost and not self.watch(wanted):
            self.break_off(Fault.NO_RESOURCES)

    # What epoll says -----------------------------------------------------------------------------------------------

    # hot
    cdef int ready(self, uint32_t mask) except -1:
        if self.backlog is not None and mask & (EPOLLOUT | EPOLLERR | EPOLLHUP):
            self.drain()
        if self.is_lost:
            return 0
        if self.is_reading:
            if mask & (EPOLLIN | EPOLLERR | EPOLLHUP):
                self.take()
        elif mask & (EPOLLERR | EPOLLHUP) and self.backlog is None:
            self.forget()   # until somebody wants to read or write, and sees what it is
        return 0

    cdef void crashed(self, int fault) noexcept:
        """The user's exchange ends with that; bytes may be missing, so nothing that goes on may look complete."""
        if self.user is not None:
            self.user.crashed(fault)
        else:
            self.break_off(fault)

    # hot
    cdef int take(self) except -1:
        """Read once; of what is left epoll tells again.

        After a large piece another is expected, and read without a copy."""
        cdef Py_ssize_t size
        if self.expected:
            return self.take_large()
        size = sp_receive(self.fd, self.watcher.buffer, READ_BYTES)
        if size > 0:
            self.expected = size if size >= LARGE_BYTES else 0
            self.user.received(PyBytes_FromStringAndSize(self.watcher.buffer, size))  # warm: what it gives on
        elif size == 0:
            self.meet_end()
        else:
            self.pushed(size)
        return 0

    cdef int take_large(self) except -1:
        """Into the object that goes on, which is made smaller then."""
        cdef Py_ssize_t room = min(self.expected * 2, READ_BYTES), size
        cdef PyObject* data = PyBytes_NEW(NULL, room)
        size = sp_receive(self.fd, PyBytes_AS_STRING(<object>data), room)
        self.expected = size if size >= LARGE_BYTES else 0
        try:
            if size > 0:
                if size < room:
                    _PyBytes_Resize(&data, size)
                self.user.received(<bytes>data)
            elif size == 0:
                self.meet_end()
            else:
                self.pushed(size)
        finally:
            Py_XDECREF(data)
        return 0

    cdef int meet_end(self) except -1:
        self.is_reading = False
        self.has_ended = True
        self.set_interest()
        if not self.user.ended():
            self.close()
        return 0

    cdef int drain(self) except -1:
        cdef Py_ssize_t sent
        cdef const unsigned char[::1] view
        while self.backlog:
            view = self.backlog[0]
            sent = self.pushed(sp_send(self.fd, <const char*>&view[0], view.shape[0]))
            if sent < 0:
                return 0
            if sent < view.shape[0]:
                self.backlog[0] = self.backlog[0][sent:]
                self.held -= sent
                return 0
            self.held -= sent
            del self.backlog[0]
        self.backlog = None
        return self.drained()

    cdef int drained(self) except -1:
        if self.is_shut:
            self.lose()
            return 0
        self.set_interest()
        if self.ends_writing:
            sp_end_writing(self.fd)
        if self.is_blocked:
            self.is_blocked = False
            self.user.writable()
        return 0

    # The user to us ------------------------------------------------------------------------------------------------

    # hot
    cdef void send(self, const char* p, Py_ssize_t n) noexcept:
        cdef Py_ssize_t sent = 0
        if self.is_shut or self.ends_writing:
            return
        if self.backlog is None:
            sent = self.pushed(sp_send(self.fd, p, n))
        if 0 <= sent < n:
            self.keep(p + sent, n - sent, None, 0, 0)

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
            self.keep(p + sent, n - sent, data, at, size)
        else:
            self.keep(NULL, 0, data, at + sent - n, size - (sent - n))

    # hot
    cdef Py_ssize_t pushed(self, Py_ssize_t sent) noexcept:
        """How many bytes the socket has taken, or given; -1 = it is broken."""
        if sent >= 0:
            return sent
        if errno == EAGAIN or errno == EINTR:
            return 0
        self.abort()
        return -1

    # boundary
    cdef void keep(self, const char* p, Py_ssize_t n, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
        """What the socket does not take.  Without memory for it the stream breaks off: it never goes on without that."""
        try:
            if n:
                self.hold(p[:n])
            if size:
                self.hold(memoryview(data)[at:at + size])
            self.block()
        except BaseException as error:
            self.break_off(report(error, self))

    cdef int hold(self, object rest) except -1:
        """bytes, or a view of bytes."""
        if self.backlog is None:
            self.backlog = []
        self.backlog.append(rest)
        self.held += len(rest)
        return 0

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
        sock = socket.socket(fileno=self.fd)    # no copy of it: there may be no descriptor left
        try:
            return sock.getsockname()
        finally:
            sock.detach()

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

    cdef void break_off(self, int fault) noexcept:
        if not self.is_lost:
            self.fault = fault
            self.reset()

    cdef void lose(self) noexcept:
        if not self.is_lost:
            self.is_lost = True
            self.watcher.part_with(self)

    cdef int end(self) except -1:
        cdef Receiver user = self.user
        self.user = None
        gone(STREAMS)
        if user is not None:
            user.lost()
        return 0
