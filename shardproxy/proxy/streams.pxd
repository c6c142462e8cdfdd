# Connected sockets: what asyncio calls a transport and a protocol, in C, as far as the data path uses it.
from libc.stdint cimport int64_t, uint32_t

from .sockets cimport sp_peer
from .timers cimport Timed
from .watching cimport Watch, Watched

cdef class Stream

# Whose stream it is.
cdef class Receiver(Timed):
    cdef int opened(self, Stream stream) except -1
    cdef int received(self, bytes data) except -1
    cdef bint ended(self) except -1         # the peer sends no more; false: the stream is to be closed
    cdef void blocked(self) noexcept        # the socket does not take all: send no more for now
    cdef int writable(self) except -1       # it has taken all
    cdef int lost(self) except -1           # the stream is closed, for whatever reason

cdef Stream stream_of(Watch watcher, int fd)

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
    cdef int fault                  # OK, or what of our own has ended it

    cdef int attach(self, Receiver user) except -1
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
    cdef void break_off(self, int fault) noexcept   # the same, on account of a fault of our own
    cdef int64_t unread(self) noexcept      # bytes that have come and were not read
    cdef int64_t unsent(self) noexcept      # bytes that the peer has not acknowledged

    # inside
    cdef int take(self) except -1
    cdef int take_large(self) except -1
    cdef int meet_end(self) except -1
    cdef int drain(self) except -1
    cdef int drained(self) except -1
    cdef Py_ssize_t pushed(self, Py_ssize_t sent) noexcept
    cdef void keep(self, const char* p, Py_ssize_t n, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept
    cdef int hold(self, object rest) except -1
    cdef void block(self) noexcept
    cdef void set_interest(self) noexcept
    cdef void lose(self) noexcept
