"""Accepting: each connection a stream, whose client is told of it at once.

One in a round, as nginx does by default: epoll tells of the next at once, those who are connected get their turn between,
and no system call is made to learn that nobody else waits.  Connections inherit TCP_NODELAY from the listening socket.

While descriptors or memory are missing nothing is accepted for a moment: the socket stays readable, and asking again at
once would burn a CPU just when it is needed.
"""

import socket

from libc.errno cimport EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from libc.stdint cimport uint32_t

from .boundary cimport note_shortage, report
from .downstream cimport Downstream
from .sockets cimport sp_accept, sp_peer
from .streams cimport Stream, stream_of
from .watching cimport EPOLLIN

cdef enum:
    REST_NS = 100_000_000       # without accepting, when there are no descriptors or memory left


cdef class StreamServer(Watched):
    def __init__(self, Process process not None, sock, ListenerRuntime listener not None):
        self.process, self.listener = process, listener
        self.shortage = AcceptPause.__new__(AcceptPause)
        self.shortage.server, self.shortage.wheel = self, process.wheel
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.join(process.watcher, sock.fileno())
        self.go_on()

    def __repr__(self):
        return f"<StreamServer {self.fd}>"

    cdef int ready(self, uint32_t mask) except -1:
        cdef Stream stream
        cdef Downstream client
        cdef sp_peer peer
        cdef int fd = sp_accept(self.fd, &peer) if self.fd >= 0 else -1
        if fd < 0:
            if self.fd >= 0 and errno in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
                self.rest(errno)
            return 0
        stream = stream_of(self.watcher, fd)
        stream.peer = peer
        try:
            client = Downstream.__new__(Downstream)
            client.belong_to(self.process, self.listener)
            stream.attach(client)
        except BaseException as error:
            stream.crashed(report(error, stream))
        return 0

    cdef void crashed(self, int fault) noexcept:
        """There is no memory for a stream."""
        if self.fd >= 0:
            self.rest(ENOMEM)

    cdef void rest(self, int error) noexcept:
        """Clients that come wait in the queue."""
        note_shortage("accept", error, None)
        self.forget()
        self.shortage.set_deadline(self.process.wheel.now_ns + REST_NS)

    cdef void go_on(self) noexcept:
        """Later, if the kernel has no room to watch the socket."""
        if self.fd >= 0 and not self.is_paused and not self.watch(EPOLLIN):
            self.shortage.set_deadline(self.process.wheel.now_ns + REST_NS)

    def pause(self):
        self.is_paused = True
        self.forget()

    def resume(self):
        self.is_paused = False
        if self.shortage.timer.deadline == 0:
            self.go_on()

    def close(self):
        self.shortage.stop_timer()
        self.leave()

    cdef int end(self) except -1:
        """It lets its listener go, and with that the configuration: at once, not when garbage is collected."""
        self.shortage.server = None
        self.listener = None
        return 0


cdef class AcceptPause(Timed):
    cdef int timed_out(self) except -1:
        self.server.go_on()
        return 0
