# Descriptors that are watched by an epoll of the worker's own, and served in C as soon as they are ready.
from libc.stdint cimport int64_t, uint32_t

from .timers cimport Wheel

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        void* ptr
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    const uint32_t EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP

cdef enum:
    MOST_EVENTS = 128       # of one turn
    READ_BYTES = 262144     # one read takes at most that much

cdef class Watched:
    cdef Watch watcher
    cdef int fd                     # -1 = closed
    cdef uint32_t interest          # what it is watched for
    cdef bint is_watched

    cdef Watched next_leaving       # in the list of those whose end() is due

    # subclasses: something of `mask` is the case
    cdef int ready(self, uint32_t mask) except -1
    # subclasses: no event names it any more, see Watch.part_with
    cdef int end(self) except -1
    # subclasses: ready() or end() has raised, which is reported already
    cdef void crashed(self, int fault) noexcept

    cdef void join(self, Watch watcher, int fd) noexcept
    cdef bint watch(self, uint32_t interest) noexcept
    cdef void forget(self) noexcept
    cdef void leave(self) noexcept

# A Python function that is called whenever a descriptor can be read.
cdef class Reader(Watched):
    cdef object call

cdef class Watch:
    cdef object loop
    cdef Wheel wheel                # whose time is set when a turn begins, or None
    cdef int epoll
    cdef int error                  # errno of the last time that it took no descriptor
    cdef epoll_event[MOST_EVENTS] events
    cdef char* buffer               # READ_BYTES that a read takes first; never in use over a turn
    cdef int members                # who have joined and not left
    cdef Watched leaving, leaving_last  # whose end() is due, in order
    cdef bint is_turning            # the end of the turn sees to them
    cdef bint is_called             # ... or the loop, which has been asked to
    cdef int64_t left_ns            # when the last turn was over
    cdef bint is_hurried            # this one is to end soon
    cdef int64_t timers_until_ns    # when the last timer that was set will have run

    cdef int serve(self, int wait_ms) noexcept
    cdef void catch_up(self) noexcept
    cdef void set_time(self, int64_t now) noexcept
    cdef void serve_one(self, Watched member, uint32_t mask) noexcept
    cdef void end_leaving(self) noexcept
    cdef void end_one(self, Watched member) noexcept
    cdef void ask_for_turn(self) noexcept
    cdef int call_soon(self, callback) except -1
    cdef object call_later(self, int64_t delay_ns, callback)
    cdef void part_with(self, Watched member) noexcept
