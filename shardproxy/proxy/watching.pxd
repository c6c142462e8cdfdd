# Descriptors that are watched by an epoll of the worker's own, and served in C as soon as they are ready.
from libc.stdint cimport uint32_t

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

    # subclasses: something of `mask` is the case
    cdef void ready(self, uint32_t mask) noexcept
    # subclasses: no event names it any more, see Watch.part_with
    cdef void end(self) noexcept

    cdef void join(self, Watch watcher, int fd) noexcept
    cdef void watch(self, uint32_t interest) noexcept
    cdef void forget(self) noexcept

cdef class Watch:
    cdef object loop
    cdef int epoll
    cdef epoll_event[MOST_EVENTS] events
    cdef char* buffer               # READ_BYTES that a read takes first; never in use over a turn
    cdef set members                # keeps who is watched: epoll only knows addresses
    cdef list leaving               # whose end() is due
    cdef bint is_turning            # the end of the turn sees to them
    cdef bint is_called             # ... or the loop, which has been asked to

    cdef int serve(self) noexcept
    cdef void part_with(self, Watched member) noexcept
