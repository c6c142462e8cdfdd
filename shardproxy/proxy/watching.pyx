"""An epoll of the worker's own, which the loop watches in turn: whoever is ready is served in C, many in one turn.

Epoll knows its members by address, so they are kept here until no event can name them: one that leaves while a turn goes
on does so at its end.
"""

import os

from libc.errno cimport errno
from libc.stdlib cimport free, malloc

from .sockets cimport sp_close

cdef extern from "<sys/epoll.h>" nogil:
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int action, int fd, epoll_event* event)
    int epoll_wait(int epoll, epoll_event* events, int most, int timeout)
    const int EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, EPOLL_CLOEXEC


cdef enum:
    MOST_ROUNDS = 4         # of one turn, which lasts some 10 ms at most
    BUSY_EVENTS = 4         # in one round, from which on there is another


cdef class Watched:
    def __cinit__(self):
        self.fd = -1

    cdef void ready(self, uint32_t mask) noexcept:
        pass

    cdef void end(self) noexcept:
        pass

    cdef void join(self, Watch watcher, int fd) noexcept:
        self.watcher, self.fd = watcher, fd
        watcher.members.add(self)

    cdef void watch(self, uint32_t interest) noexcept:
        """From here on for this."""
        cdef epoll_event event
        if self.fd < 0 or (self.is_watched and interest == self.interest):
            return
        event.events = self.interest = interest
        event.data.ptr = <void*>self
        epoll_ctl(self.watcher.epoll, EPOLL_CTL_MOD if self.is_watched else EPOLL_CTL_ADD, self.fd, &event)
        self.is_watched = True

    cdef void forget(self) noexcept:
        """Not any more: errors and hang-ups, which can't be masked, aren't told either."""
        cdef epoll_event event
        if self.is_watched:
            self.is_watched = False
            epoll_ctl(self.watcher.epoll, EPOLL_CTL_DEL, self.fd, &event)


cdef class Watch:
    def __cinit__(self, loop):
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        self.buffer = <char*>malloc(READ_BYTES)
        if self.epoll < 0 or self.buffer == NULL:
            raise OSError(errno, os.strerror(errno))
        self.loop = loop
        self.members, self.leaving = set(), []
        loop.add_reader(self.epoll, self.turn)

    def __dealloc__(self):
        free(self.buffer)
        if self.epoll >= 0:
            sp_close(self.epoll)

    def __repr__(self):
        return f"<Watch members={len(self.members)}>"

    def turn(self):
        """Serve whoever is ready; while these are many, whoever became so meanwhile, too, before the loop gets its turn.
        Cost: one system call for each round, and what they do."""
        for _ in range(MOST_ROUNDS):
            if self.serve() < BUSY_EVENTS:
                return

    cdef int serve(self) noexcept:
        cdef int i, count = epoll_wait(self.epoll, self.events, MOST_EVENTS, 0)
        self.is_turning = True
        for i in range(count):
            (<Watched>self.events[i].data.ptr).ready(self.events[i].events)
        self.is_turning = False
        self.let_go()
        return count

    cdef void part_with(self, Watched member) noexcept:
        """Its end() comes soon, but not from within this call."""
        self.leaving.append(member)
        if not self.is_turning and not self.is_called:
            self.is_called = True
            self.loop.call_soon(self.let_go)

    def let_go(self):
        """End all that are leaving; those that leave because of it, too."""
        cdef Watched member
        self.is_called = False
        while self.leaving:
            leaving, self.leaving = self.leaving, []
            for member in leaving:
                self.members.discard(member)
                member.end()
                if member.fd >= 0:
                    sp_close(member.fd)
                    member.fd = -1
