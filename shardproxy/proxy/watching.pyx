"""An epoll of the worker's own, which the loop watches in turn: whoever is ready is served in C, many in one turn.

    the loop ── the epoll is ready ──> turn: serve, and while there is much to do: wait here, serve, ...
       ^                                 │ 2 ms over, nobody came, or the loop is asked for something
       └─────────────────────────────────┘

A trip through the loop costs as much as a quarter of a request, so under load it is made every 2 ms and not for every
event.  Without load the turn waits for nobody.  What the loop is for, timers and tasks, is late by that at most: who sets
a timer says so here (`call_later`), and then the turn does not wait for long.

Epoll knows its members by address, so each has a reference to itself until no event can name it: one that leaves while a
turn goes on does so at its end.  (A set of them would cost a hundred bytes for each.)
"""

import os

from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport errno
from libc.stdlib cimport free, malloc

from shardproxy.shm.clock cimport now_ns
from .boundary cimport note_shortage, report
from .sockets cimport sp_close

cdef extern from "<sys/epoll.h>" nogil:
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int action, int fd, epoll_event* event)
    int epoll_wait(int epoll, epoll_event* events, int most, int timeout)
    const int EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, EPOLL_CLOEXEC


cdef enum:
    TURN_NS = 2_000_000     # a turn ends when it has lasted so long
    WAIT_MS = 20            # ... or when nobody was ready for so long: short enough for what comes every 50 ms
    TIMER_WAIT_MS = 1       # ... while a timer runs; a shorter wait makes the kernel set a clock, which is dear
    SOON_NS = 100_000       # who is ready so soon after a turn shows that there is much to do

cdef class Watched:
    def __cinit__(self):
        self.fd = -1

    cdef int ready(self, uint32_t mask) except -1:
        return 0

    cdef int end(self) except -1:
        return 0

    cdef void crashed(self, int fault) noexcept:
        pass

    cdef void join(self, Watch watcher, int fd) noexcept:
        self.watcher, self.fd = watcher, fd
        watcher.members += 1
        Py_INCREF(self)

    cdef bint watch(self, uint32_t interest) noexcept:
        """From here on for this.  False: the kernel has no room for it, which the log says; then it is not watched."""
        cdef epoll_event event
        cdef int error
        if self.fd < 0 or (self.is_watched and interest == self.interest):
            return True
        event.events = self.interest = interest
        event.data.ptr = <void*>self
        if epoll_ctl(self.watcher.epoll, EPOLL_CTL_MOD if self.is_watched else EPOLL_CTL_ADD, self.fd, &event) == 0:
            self.is_watched = True
            return True
        error = self.watcher.error = errno
        note_shortage("watch", error, self)
        return False

    cdef void forget(self) noexcept:
        """Not any more: errors and hang-ups, which can't be masked, aren't told either."""
        cdef epoll_event event
        if self.is_watched:
            self.is_watched = False
            epoll_ctl(self.watcher.epoll, EPOLL_CTL_DEL, self.fd, &event)

    cdef void leave(self) noexcept:
        """Not any more, for good; the descriptor is whose it was before."""
        if self.fd >= 0:
            self.forget()
            self.fd = -1
            self.watcher.part_with(self)


cdef class Reader(Watched):
    def __init__(self, Watch watcher not None, int fd, call):
        self.call = call
        self.join(watcher, fd)
        if not self.watch(EPOLLIN):
            self.leave()
            raise OSError(watcher.error, os.strerror(watcher.error))

    def __repr__(self):
        return f"<Reader {self.fd}>"

    cdef int ready(self, uint32_t mask) except -1:
        self.watcher.is_hurried = True      # whatever it does may be for the loop to go on with
        self.call()
        return 0

    cdef int end(self) except -1:
        """What it calls may hold it."""
        self.call = None
        return 0

    def pause(self):
        self.forget()

    def resume(self):
        if not self.watch(EPOLLIN):
            raise OSError(self.watcher.error, os.strerror(self.watcher.error))

    def close(self):
        self.leave()


cdef class Watch:
    def __cinit__(self, loop):
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        self.buffer = <char*>malloc(READ_BYTES)
        if self.epoll < 0 or self.buffer == NULL:
            raise OSError(errno, os.strerror(errno))
        self.loop = loop
        loop.add_reader(self.epoll, self.turn)

    def __dealloc__(self):
        free(self.buffer)
        if self.epoll >= 0:
            sp_close(self.epoll)

    def __repr__(self):
        return f"<Watch members={self.members}>"

    def turn(self):
        """Serve whoever is ready; under load, whoever becomes so soon, too.  Cost: one system call for each round, and
        what they do."""
        cdef int64_t began = now_ns()
        cdef bint is_busy = began - self.left_ns < SOON_NS
        cdef int wait_ms = TIMER_WAIT_MS if began < self.timers_until_ns else WAIT_MS
        self.is_hurried = False
        self.set_time(began)
        self.serve(0)
        while is_busy and not self.is_hurried and now_ns() - began < TURN_NS:
            is_busy = self.serve(wait_ms) > 0
        self.left_ns = now_ns()

    cdef void set_time(self, int64_t now) noexcept:
        """Deadlines that are set from here on are reckoned from now, not from before a stall."""
        if self.wheel is not None:
            self.wheel.now_ns = now

    cdef void catch_up(self) noexcept:
        """Serve all that are ready once, so that what has arrived during a stall is seen before timers are."""
        cdef int rounds = self.members // MOST_EVENTS + 2
        self.set_time(now_ns())
        while rounds > 0 and self.serve(0) > 0:
            rounds -= 1

    cdef int serve(self, int wait_ms) noexcept:
        cdef int i, count
        if wait_ms:
            with nogil:
                count = epoll_wait(self.epoll, self.events, MOST_EVENTS, wait_ms)
        else:
            count = epoll_wait(self.epoll, self.events, MOST_EVENTS, 0)
        self.is_turning = True
        for i in range(count):
            self.serve_one(<Watched>self.events[i].data.ptr, self.events[i].events)
        self.is_turning = False
        self.end_leaving()
        return count

    # boundary
    cdef void serve_one(self, Watched member, uint32_t mask) noexcept:
        try:
            member.ready(mask)
        except BaseException as error:
            member.crashed(report(error, member))

    cdef int call_soon(self, callback) except -1:
        """By the loop, which gets its turn next."""
        self.is_hurried = True
        self.loop.call_soon(callback)
        return 0

    cdef object call_later(self, int64_t delay_ns, callback):
        """By the loop; returns its handle."""
        self.timers_until_ns = max(self.timers_until_ns, now_ns() + delay_ns)
        self.is_hurried = True
        return self.loop.call_later(delay_ns / 1e9, callback)

    cdef void part_with(self, Watched member) noexcept:
        """Its end() comes soon, but not from within this call."""
        if self.leaving is None:
            self.leaving = member
        else:
            self.leaving_last.next_leaving = member
        self.leaving_last = member
        if not self.is_turning and not self.is_called:
            self.ask_for_turn()

    # boundary
    cdef void ask_for_turn(self) noexcept:
        """Without memory for that, they are ended with the next who are ready, or by the next tick."""
        try:
            self.call_soon(self.let_go)
            self.is_called = True
        except BaseException as error:
            report(error, self)

    def let_go(self):
        """End all that are leaving."""
        self.end_leaving()

    cdef void end_leaving(self) noexcept:
        """Those that leave because of it, too."""
        cdef Watched member
        self.is_called = False
        while self.leaving is not None:
            member = self.leaving
            self.leaving, member.next_leaving = member.next_leaving, None
            self.members -= 1
            self.end_one(member)
            if member.fd >= 0:
                sp_close(member.fd)
                member.fd = -1
            Py_DECREF(member)
        self.leaving_last = None

    # boundary
    cdef void end_one(self, Watched member) noexcept:
        try:
            member.end()
        except BaseException as error:
            member.crashed(report(error, member))
