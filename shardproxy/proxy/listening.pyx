"""Accepting: as many as wait, within bounds, each a stream that its protocol is told of at once.

Connections inherit TCP_NODELAY from the listening socket, so that it need not be said for each.
"""

import socket

from libc.errno cimport EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from libc.stdint cimport uint32_t

from .sockets cimport sp_accept, sp_peer
from .streams cimport Receiver, Stream
from .watching cimport EPOLLIN, Watch

cdef enum:
    MOST_ACCEPTED = 16      # in one turn, so that those who are connected get theirs
REST_S = 0.1                # without accepting, when there are no descriptors or memory left


cdef class StreamServer(Watched):
    def __init__(self, Watch watcher not None, sock, factory):
        self.sock, self.factory = sock, factory
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.join(watcher, sock.fileno())
        self.watch(EPOLLIN)

    def __repr__(self):
        return f"<StreamServer {self.fd}>"

    cdef void ready(self, uint32_t mask) noexcept:
        cdef Stream stream
        cdef sp_peer peer
        cdef int fd
        for _ in range(MOST_ACCEPTED):
            if self.fd < 0:
                return
            fd = sp_accept(self.fd, &peer)
            if fd < 0:
                if errno == EMFILE or errno == ENFILE or errno == ENOBUFS or errno == ENOMEM:
                    self.rest()
                return
            stream = Stream.__new__(Stream)
            stream.join(self.watcher, fd)
            stream.peer = peer
            stream.attach(<Receiver?>self.factory())

    cdef void rest(self) noexcept:
        """Who comes waits in the queue."""
        self.forget()
        self.watcher.loop.call_later(REST_S, self.go_on)

    def go_on(self):
        self.watch(EPOLLIN)

    def close(self):
        if self.fd >= 0:
            self.forget()
            self.fd = -1
            self.watcher.part_with(self)
            self.sock.close()
