"""Connecting: addresses are numbers, so that nothing has to be looked up, and nothing but the kernel waited for."""

import errno
import socket

from libc.stdint cimport uint32_t

from shardproxy.http1.faults cimport Fault
from .boundary cimport note_shortage, report
from .streams import adopt
from shardproxy.observe.shortages import is_shortage
from .watching cimport EPOLLOUT


def socket_for(address):
    """A socket that can be connected there, and does not block."""
    family = socket.AF_UNIX if address.is_unix else socket.AF_INET6 if address.is_ipv6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    if not address.is_unix:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


cdef class Attempt(Watched):
    def __init__(self, Watch watcher not None, address, Upstream upstream not None):
        """Begins.  The upstream gets opened() or connect_failed() later; raises OSError when not even that."""
        self.address = address
        try:
            self.sock = socket_for(address)
        except OSError as error:
            note_shortage("connect", error.errno, address)
            raise
        self.upstream = upstream
        self.join(watcher, self.sock.fileno())
        try:
            self.begin()
        except BaseException:
            self.cancel()
            raise

    cdef begin(self):
        cdef int error = self.sock.connect_ex(self.address.path or (self.address.host, self.address.port))
        if error and error != errno.EINPROGRESS:
            self.error = error
        elif not self.watch(EPOLLOUT):
            self.error = self.watcher.error
        if self.error:
            self.watcher.call_soon(self.fail)

    def __repr__(self):
        return f"<Attempt {self.fd} {'over' if self.upstream is None else 'connecting'}>"

    cdef int ready(self, uint32_t mask) except -1:
        if self.upstream is None:
            return 0
        self.error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if self.error:
            self.fail()
            return 0
        upstream = self.upstream
        self.leave()
        adopt(self.watcher, self.sock.detach(), upstream)
        self.upstream = None
        return 0

    cdef void crashed(self, int fault) noexcept:
        """Whatever failed, there is no connection."""
        self.end_with(fault)

    def fail(self):
        """The endpoint is blamed only for what it did, not for what this process lacks."""
        if self.upstream is None:
            return
        if is_shortage(self.error, is_unix=self.address.is_unix):
            note_shortage("connect", self.error, self.address)
            self.end_with(Fault.NO_RESOURCES)
        else:
            self.end_with(Fault.CONNECT_FAILED)

    # boundary
    cdef void end_with(self, int fault) noexcept:
        cdef Upstream upstream = self.upstream
        try:
            self.conclude()
            self.sock.close()
        except BaseException as error:
            report(error, self)
        if upstream is not None:
            upstream.attempt = None
            upstream.connect_failed(fault)

    def cancel(self):
        """Whoever cancels knows."""
        self.conclude()
        self.sock.close()

    cdef Upstream conclude(self):
        """No event is waited for any more.  Who it was for; None when it was over already."""
        cdef Upstream upstream = self.upstream
        self.upstream = None
        self.leave()
        return upstream
