"""The timer wheel: head, body, response and idle timeouts of all connections of a worker.

After a stall (SIGSTOP, a suspended machine, a busy one) the time in which the process stood still does not count: what
its peers have sent meanwhile has not been looked at.  A timer that became due in that time gets it once more.
"""

cimport cython

from shardproxy.shm.clock cimport now_ns
from .boundary cimport report


cdef inline void unlink(Timer* timer) noexcept:
    timer.previous.next = timer.next
    timer.next.previous = timer.previous
    timer.next = timer.previous = NULL


cdef inline void push(Timer* slot, Timer* timer) noexcept:
    timer.next = slot.next
    timer.previous = slot
    slot.next.previous = timer
    slot.next = timer


cdef class Timed:
    """Whatever has one timeout at a time."""

    cdef int timed_out(self) except -1:
        return 0

    cdef void crashed(self, int fault) noexcept:
        pass

    cdef void stop_timer(self) noexcept:
        """No more timed_out(); to be called before the owner may go."""
        self.timer.deadline = 0
        if self.timer.next != NULL:
            unlink(&self.timer)

    def __cinit__(self):
        self.timer.owner = <void*>self

    def __dealloc__(self):
        if self.timer.next != NULL:
            unlink(&self.timer)


cdef class Wheel:
    def __cinit__(self):
        cdef int i
        for i in range(WHEEL_SLOTS):
            self.slots[i].next = self.slots[i].previous = &self.slots[i]
        self.now_ns = self.advanced_ns = now_ns()
        self.tick = self.now_ns // TICK_NS

    # hot
    cdef void link(self, Timer* timer, int64_t deadline) noexcept:
        """Into the slot of its deadline, or into the last of this turn if that is further ahead."""
        cdef int64_t tick = deadline // TICK_NS + 1
        if timer.next != NULL:
            unlink(timer)
        tick = max(tick, self.tick + 1)
        tick = min(tick, self.tick + WHEEL_SLOTS - 1)
        timer.tick = tick
        push(&self.slots[tick % WHEEL_SLOTS], timer)

    cdef bint is_late(self) noexcept:
        """Has the process stood still since the last advance()?"""
        return now_ns() - self.advanced_ns > STALL_NS

    def advance(self):
        """Serve all ticks that have passed.  Cost: the timers in these slots; to be called every TICK_NS.

        Two stalls that follow each other count as one: a process that is always late still has its timeouts."""
        cdef int64_t last
        self.now_ns = now_ns()
        self.stalled_ns = self.now_ns - self.advanced_ns if self.is_late() and not self.stalled_ns else 0
        last = self.now_ns // TICK_NS
        if last - self.tick > WHEEL_SLOTS:
            self.tick = last - WHEEL_SLOTS
        while self.tick < last:
            self.tick += 1
            self.serve(&self.slots[self.tick % WHEEL_SLOTS], self.now_ns)
        self.advanced_ns = self.now_ns

    cdef void serve(self, Timer* slot, int64_t now_ns) noexcept:
        """Those who are due are told; those who have been moved ahead are put back; the others are left out."""
        cdef Timer due
        cdef Timer* timer
        cdef Timed owner        # holds it: what it does may let go the last other reference
        if slot.next == slot:
            return
        due.next, due.previous = slot.next, slot.previous  # the ring gets another head: told owners may set timers
        due.next.previous = due.previous.next = &due
        slot.next = slot.previous = slot
        while due.next != &due:
            timer = due.next
            unlink(timer)
            if self.stalled_ns and self.advanced_ns < timer.deadline <= now_ns:
                timer.deadline += self.stalled_ns
            if timer.deadline > now_ns:
                self.link(timer, timer.deadline)
            elif timer.deadline:
                timer.deadline = 0
                owner = <Timed>timer.owner
                self.call(owner)

    # boundary
    cdef void call(self, Timed owner) noexcept:
        try:
            owner.timed_out()
        except BaseException as error:
            owner.crashed(report(error, owner))
