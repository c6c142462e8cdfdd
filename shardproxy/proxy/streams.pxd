# Connected sockets as transports: what uvloop's do for a protocol, as far as the data path uses it.
from libc.stdint cimport uint32_t

from .sockets cimport sp_peer
from .timers cimport Timed
from .watching cimport Watch, Watched

# Whose stream it is: a protocol of asyncio's, whose bytes come in C.
cdef class Receiver(Timed):
    cdef void received(self, bytes data) noexcept

cdef class Stream(Watched):
    cdef Receiver user
    cdef sp_peer peer               # who has been accepted; family 0 = not known
    cdef list backlog               # what the socket has not taken yet, in order; None = nothing
    cdef Py_ssize_t held            # bytes in it
    cdef Py_ssize_t expected        # bytes of the last piece, if it was large; else 0
    cdef object error               # why it was lost
    cdef bint is_reading
    cdef bint has_ended             # the peer sends no more
    cdef bint is_shut               # nothing more is taken from the user
    cdef bint is_lost               # the user will be told, or has been
    cdef bint ends_writing          # once the backlog is out
    cdef bint is_blocked            # the user has been told to pause

    cdef void attach(self, Receiver user) noexcept
    cdef bytes peer_host(self)

    # as write() and writelines(), in C; `data` is kept as long as need be, what `p` points to is copied
    cdef void send(self, const char* p, Py_ssize_t n) noexcept
    cdef void send_with(self, const char* p, Py_ssize_t n, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept

    # inside
    cdef void take(self) noexcept
    cdef void take_large(self) noexcept
    cdef void meet_end(self) noexcept
    cdef void drain(self) noexcept
    cdef void drained(self) noexcept
    cdef Py_ssize_t pushed(self, Py_ssize_t sent) noexcept
    cdef void hold(self, object rest) noexcept
    cdef void block(self) noexcept
    cdef void set_interest(self) noexcept
    cdef void break_off(self, object error) noexcept
    cdef void lose(self) noexcept
