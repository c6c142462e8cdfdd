# A coarse timer wheel per worker.  A timer is a few words inside its owner: setting one further ahead is one store,
# because a timer that comes up early is simply put back (Varghese and Lauck 1987, scheme 6, with lazy re-arming).
from libc.stdint cimport int64_t, uint32_t

cdef enum:
    TICK_NS = 50_000_000        # timeouts are late by two of these at most, and never early
    WHEEL_SLOTS = 512           # one turn: 25.6 s; timers further ahead go round again
    STALL_NS = 100_000_000      # without a tick: the process has stood still

cdef struct Timer:
    Timer* next                 # NULL = in no slot
    Timer* previous
    int64_t deadline            # CLOCK_MONOTONIC ns; 0 = none
    int64_t tick                # the tick whose slot it is in
    void* owner                 # a Timed; not counted, the owner takes its timer out when it goes

cdef class Timed:
    cdef Timer timer
    cdef Wheel wheel

    cdef int timed_out(self) except -1
    # timed_out() has raised, which is reported already: what it serves ends with that fault
    cdef void crashed(self, int fault) noexcept
    cdef inline void set_deadline(self, int64_t deadline) noexcept:
        """Call timed_out() once `deadline`, reckoned from wheel.now_ns, is past; 0 = never."""
        if deadline:
            deadline += TICK_NS     # what the wheel takes for now may be that old
        self.timer.deadline = deadline
        if deadline and (self.timer.next == NULL or deadline // TICK_NS < self.timer.tick - 1):
            self.wheel.link(&self.timer, deadline)
    cdef void stop_timer(self) noexcept

cdef class Wheel:
    cdef Timer[512] slots       # each the head of a ring
    cdef int64_t tick           # the last one that was served
    cdef readonly int64_t now_ns  # when that was, or a turn began later: good enough for every deadline
    cdef int64_t advanced_ns    # when that was
    cdef int64_t stalled_ns     # for how long nothing was served before this advance(); 0 = it comes in time

    cdef bint is_late(self) noexcept
    cdef void link(self, Timer* timer, int64_t deadline) noexcept
    cdef void serve(self, Timer* slot, int64_t now_ns) noexcept
    cdef void call(self, Timed owner) noexcept
