# Connected sockets: what asyncio calls a transport and a protocol, in C, as far as the data path uses it.
from libc.stdint cimport int64_t, uint32_t

from .sockets cimport sp_peer
from .timers cimport Timed
from .watching cimport Watch, Watched

cdef class Stream

# Whose stream it is.
cdef class Receiver(Timed):
    cdef void opened(self, Stream stream) noexcept
    cdef void received(self, bytes data) noexcept
    cdef bint ended(self) noexcept          # the peer sends no more; false: the stream is to be closed
    cdef void blocked(self) noexcept        # the socket does not take all: send no more for now
    cdef void writable(self) noexcept       # it has taken all
    cdef void lost(self) noexcept           # the stream is closed, for whatever reason

cdef class Stream(Watched):
    cdef Receiver user
    cdef sp_peer peer               # who has been accepted; family 0 = not known
    cdef list backlog               # what the socket has not taken yet, in order; None = nothing
    cdef Py_ssize_t held            # bytes in it
    cdef Py_ssize_t expected        # bytes of the last piece, if it was large; else 0
    cdef bint is_reading
    cdef bint has_ended             # the peer sends no more
    cdef bint is_shut               # nothing more is taken from the user
    cdef bint is_lost               # the user will be told, or has been
    cdef bint ends_writing          # once the backlog is out
    cdef bint is_blocked            # the user has been told to pause

    cdef void attach(self, Receiver user) noexcept
    cdef bytes peer_host(self)

    # `data` is kept as long as need be, what `p` points to is copied
    cdef void send(self, const char* p, Py_ssize_t n) noexcept
    cdef void send_with(self, const char* p, Py_ssize_t n, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept

    cdef void end_writing(self) noexcept    # once all is written: our half is closed
    cdef void pause(self) noexcept          # read no more for now
    cdef void resume(self) noexcept
    cdef void close(self) noexcept          # once all is written
    cdef void abort(self) noexcept          # at once
    cdef void reset(self) noexcept          # at once, and so that the peer can tell
    cdef int64_t unread(self) noexcept      # bytes that have come and were not read
    cdef int64_t unsent(self) noexcept      # bytes that the peer has not acknowledged

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
    cdef void lose(self) noexcept
