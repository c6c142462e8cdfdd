# The bandwidth limits of a route: what a flow may not send yet is held back, and its source is paused.
from libc.stdint cimport int64_t

from shardproxy.http1.forwarding cimport Ip
from shardproxy.limits.bandwidth cimport Account, Allowance, Bandwidth
from .ends cimport End, Pace, PacePlan
from .exchange cimport Exchange

cdef enum:
    MOST_LIMITS = 8             # of one route
    NOBODY = -1

# One direction of one exchange.
cdef class Lane(Pace):
    cdef Exchange exchange      # None when it is over
    cdef tuple limits           # of Bandwidth, as many as accounts
    cdef int count              # of them
    cdef Account[8] accounts
    cdef dict allowances        # keeps what the accounts point to; or None
    # what is held back: pieces (data, at, size), and behind them small ones, joined; None: nothing
    cdef list held
    cdef bytearray tail
    cdef bint ends_half         # it holds the end of that half of a tunnel, too
    # what of it may go next
    cdef int64_t piece          # bytes to take at a time, while there is no queue
    cdef int64_t next_piece
    cdef int64_t granted        # bytes that are taken already; 0: they are to be asked for
    cdef int64_t due_ns         # when they may go, or when to ask
    cdef int blamed             # the limit that has them wait, or NOBODY
    cdef int64_t blamed_since_ns

    cdef void find_accounts(self, tuple limits, const Ip* client)
    cdef int keep(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1
    cdef int let_go(self) except -1
    cdef int flush(self) except -1
    cdef Py_ssize_t allowed(self, Py_ssize_t size, int64_t now) noexcept
    cdef int64_t piece_after(self, int64_t wait) noexcept
    cdef int64_t reserve(self, int64_t size, int64_t now) noexcept
    cdef void give_back(self, int first, int64_t size, int64_t now) noexcept
    cdef void blame(self, int limit, int64_t now) noexcept
    cdef void note_passed(self, Py_ssize_t size) noexcept
    cdef int let_through(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1
    cdef int drained(self) except -1
    # which way it goes
    cdef int pass_on(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1
    cdef int pass_end(self) except -1
    cdef bint is_stuck(self) noexcept
    cdef End source(self)
    cdef End sink(self)

cdef class Upload(Lane):
    pass

cdef class Download(Lane):
    cdef bint is_watched        # the client has not taken what it got: it has until the deadline

cdef class BandwidthPlan(PacePlan):
    cdef tuple up, down         # of Bandwidth
    cdef bint needs_client

    cdef Lane lane(self, Lane lane, Exchange exchange, tuple limits)

cdef Allowance allowance_of(End client, Bandwidth limit)
