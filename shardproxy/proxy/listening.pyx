"""Accepting: each connection a stream, whose client is told of it at once.

One in a round, as nginx does by default: epoll tells of the next at once, those who are connected get their turn between,
and no system call is made to learn that nobody else waits.  Connections inherit TCP_NODELAY from the listening socket.
"""

import socket

from libc.errno cimport EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from libc.stdint cimport uint32_t

from .boundary cimport report
from .downstream cimport Downstream
from .sockets cimport sp_accept, sp_peer
from .streams cimport Stream, stream_of
from .watching cimport EPOLLIN

REST_S = 0.1                # without accepting, when there are no descriptors or memory left


cdef class StreamServer(Watched):
    def __init__(self, Process process not None, sock, ListenerRuntime listener not None):
        self.process, self.sock, self.listener = process, sock, listener
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.join(process.watcher, sock.fileno())
        self.watch(EPOLLIN)

    def __repr__(self):
        return f"<StreamServer {self.fd}>"

    cdef int ready(self, uint32_t mask) except -1:
        cdef Stream stream
        cdef Downstream client
        cdef sp_peer peer
        cdef int fd = sp_accept(self.fd, &peer) if self.fd >= 0 else -1
        if fd < 0:
            if self.fd >= 0 and errno in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
                self.rest()
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

    cdef int rest(self) except -1:
        """Who comes waits in the queue."""
        self.forget()
        self.watcher.loop.call_later(REST_S, self.go_on)
        return 0

    def go_on(self):
        self.watch(EPOLLIN)

    def close(self):
        self.leave()
        self.sock.close()
