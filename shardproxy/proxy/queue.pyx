"""Waiting for a free place in a cluster that is full: first by class, then by arrival, over all workers.

    no place, or others wait ──> in line ──(a place is free and nobody anywhere is before)──> an endpoint
        │ as many wait as may         │ time is up, client gone, pushed out by a higher class
        v                             v
       503                     503, or nobody to answer

Each worker keeps its own clients in line; shared memory says, for each worker, of which class its first one is and since
when (`shm.waiters`), and one gauge over all how many wait, so that the bound is exact.  A free place is taken by the
worker whose first one is first of all.  Whoever finds that this is another rings that one's bell, an eventfd.

No wake-up is lost.  Who gives a place back stores the lower count, fences, and reads who waits.  Who begins to wait stores
that, fences, and reads the counts (`has_room`).  Of the two fences one comes first, so at least one of the two sees the
other (Dekker).  The same holds for a reservation that failed because another tried at the same instant: whoever backs out
fences and looks again, and the last one to do so sees all that the others took back.  Whoever is woken and finds nobody in
its own line, or somebody before it, rings on.  A worker that dies while it holds a place, or was just woken, cannot: the
supervisor clears its row and then rings all bells.  As a second line of defence each worker that has somebody waiting looks
by itself every 50 to 100 ms; when it finds a free place and twice the same one of another worker before it, that worker
stands still, and is passed over for as long as its first one is the same.

Cost: to enter and to leave, a few steps, and one look at the counts of the endpoints and at the cells of the rows; with
nobody waiting, a request looks once at one gauge before it, and once after.
"""

import os
from collections import namedtuple

cimport cython

from shardproxy.balancing.cluster cimport FULL
from shardproxy.http1.faults cimport Fault
from shardproxy.shm.clock cimport now_ns
from shardproxy.shm.gauges cimport gauge_add, gauge_reserve, gauge_total, sp_gauge_fence
from shardproxy.shm.metrics cimport count, observe_ns
from shardproxy.shm.waiters cimport (
    NOBODY, waiter_at, waiter_best, waiter_key, waiter_publish, waiter_ring
)
from .priority cimport LOWEST, rank_of

QueueNumbers = namedtuple("QueueNumbers", "queue waiting queued timeouts refused time")

cdef enum:
    RETRY_AFTER_S = 1
    LOOK_NS = 50_000_000        # how long until a worker with waiters looks by itself
    MAX_LOST_RACES = 16         # reservations that others were faster with, before the next look


@cython.final
@cython.freelist(64)
cdef class Waiter(Timed):

    cdef void timed_out(self) noexcept:
        count(self.queue.metric_cells, self.queue.slots.timeouts, 1)
        self.exchange.refuse(Fault.QUEUE_TIMEOUT, RETRY_AFTER_S)


@cython.final
cdef class Line:

    cdef void append(self, Waiter waiter) noexcept:
        waiter.older = self.youngest
        if self.youngest is None:
            self.oldest = waiter
        else:
            self.youngest.younger = waiter
        self.youngest = waiter

    cdef void remove(self, Waiter waiter) noexcept:
        if waiter.older is None:
            self.oldest = waiter.younger
        else:
            waiter.older.younger = waiter.younger
        if waiter.younger is None:
            self.youngest = waiter.older
        else:
            waiter.younger.older = waiter.older
        waiter.older = waiter.younger = None


@cython.final
cdef class Queue(WaitingRoom):
    def __init__(self, Wheel wheel not None, Gauges gauges not None, Metrics metrics not None, Waiters waiters not None,
                 numbers):
        self.wheel = wheel
        self.gauges, self.metrics, self.waiters = gauges, metrics, waiters
        self.gauge_cells, self.metric_cells, self.cells = &gauges.cells, &metrics.cells, &waiters.cells
        self.slots.queue, self.slots.waiting, self.slots.queued = numbers.queue, numbers.waiting, numbers.queued
        self.slots.timeouts, self.slots.refused, self.slots.time = numbers.timeouts, numbers.refused, numbers.time
        self.high, self.normal, self.low = Line(), Line(), Line()
        self.seen_row = self.ignored_row = NOBODY

    def __repr__(self):
        return f"<Queue waiting={gauge_total(self.gauge_cells, self.slots.waiting)} empty={self.is_empty}>"

    @property
    def is_empty(self):
        """Whether nobody waits in this worker."""
        return self.first() is None

    # What exchanges say --------------------------------------------------------------------------------------------

    cdef bint is_busy(self) noexcept:
        return gauge_total(self.gauge_cells, self.slots.waiting) > 0

    cdef bint enter(self, object asker) noexcept:
        cdef Exchange exchange = <Exchange>asker
        cdef int rank = rank_of(exchange)
        cdef Waiter waiter
        if not gauge_reserve(self.gauge_cells, self.slots.waiting, exchange.cluster.queue_max):
            if not self.push_out(rank):
                count(self.metric_cells, self.slots.refused, 1)
                return False
        waiter = Waiter.__new__(Waiter)
        waiter.wheel, waiter.queue, waiter.exchange = self.wheel, self, exchange
        waiter.rank, waiter.since_ns, waiter.has_place = rank, now_ns(), True
        waiter.set_deadline(waiter.since_ns + exchange.cluster.queue_timeout_ns)
        self.line(rank).append(waiter)
        exchange.place = waiter
        if not exchange.is_request_done:
            exchange.client.pause()
        count(self.metric_cells, self.slots.queued, 1)
        self.latest = exchange.cluster.balancing
        self.publish()
        if self.timer.deadline == 0:
            self.set_deadline(waiter.since_ns + LOOK_NS)
        self.serve(exchange.cluster.balancing)
        return True

    cdef void leave(self, object place) noexcept:
        cdef Waiter waiter = <Waiter>place
        waiter.stop_timer()
        self.line(waiter.rank).remove(waiter)
        waiter.exchange.place = None
        waiter.exchange = None
        self.publish()
        if waiter.has_place:
            gauge_add(self.gauge_cells, self.slots.waiting, -1)

    cdef void freed(self, object giver) noexcept:
        """A place is free: whoever is first of all gets it."""
        sp_gauge_fence()
        if gauge_total(self.gauge_cells, self.slots.waiting) > 0:
            self.serve((<Exchange>giver).cluster.balancing)

    def awake(self):
        if self.latest is not None:
            self.serve(self.latest)

    cdef void timed_out(self) noexcept:
        """Every 50 to 100 ms while somebody waits in this worker."""
        if self.first() is None:
            return
        self.set_deadline(now_ns() + LOOK_NS)
        self.overtake_the_stalled()
        self.serve(self.latest)

    # Inside --------------------------------------------------------------------------------------------------------

    cdef Line line(self, int rank):
        return self.high if rank == 0 else self.normal if rank == 1 else self.low

    cdef Waiter first(self):
        if self.high.oldest is not None:
            return self.high.oldest
        return self.normal.oldest if self.normal.oldest is not None else self.low.oldest

    cdef void publish(self) noexcept:
        """Say who is first in this worker."""
        cdef Waiter first = self.first()
        waiter_publish(self.cells, self.slots.queue, 0 if first is None else waiter_key(first.rank, first.since_ns))

    cdef bint push_out(self, int rank) noexcept:
        """As many wait as may: the youngest of the lowest class in this worker makes way for one of a higher class, and
        leaves it its place; false if there is none."""
        cdef int lowest = LOWEST
        cdef Waiter youngest
        while lowest > rank:
            youngest = self.line(lowest).youngest
            if youngest is not None:
                youngest.has_place = False
                count(self.metric_cells, self.slots.refused, 1)
                youngest.exchange.refuse(Fault.OVERFLOW, RETRY_AFTER_S)
                return True
            lowest -= 1
        return False

    cdef void serve(self, Cluster cluster) noexcept:
        """While there is room, to whoever is first; ring if that is another worker's.  Never entered twice: what happens
        meanwhile is seen in the next turn of the loop."""
        cdef int row, lost = 0
        if self.is_serving:
            return
        self.is_serving = True
        while lost < MAX_LOST_RACES and cluster.has_room():
            row = waiter_best(self.cells, self.slots.queue, self.ignored_row, self.ignored_key)
            if row != self.cells.row:
                if row != NOBODY:
                    waiter_ring(self.cells, row)
                break
            cluster = self.first().exchange.cluster.balancing
            if not self.admit(self.first()):
                lost += 1
        self.is_serving = False

    cdef bint admit(self, Waiter waiter) noexcept:
        """False: somebody else was faster."""
        cdef Exchange exchange = waiter.exchange
        cdef int endpoint = exchange.pick()
        if endpoint == FULL:
            return False
        self.leave(waiter)
        if endpoint < 0:
            exchange.refuse(Fault.NO_ENDPOINT, RETRY_AFTER_S)
            return True
        observe_ns(self.metric_cells, self.slots.time, now_ns() - waiter.since_ns)
        exchange.take(endpoint)
        if exchange.origin is not None:
            exchange.origin.flush()
        return True

    cdef void overtake_the_stalled(self) noexcept:
        """Another worker's waiter has been first since the last look, with room for it: its worker stands still."""
        cdef int row = waiter_best(self.cells, self.slots.queue, self.ignored_row, self.ignored_key)
        cdef int64_t key = 0 if row == NOBODY else waiter_at(self.cells, self.slots.queue, row)
        if row == self.cells.row or not self.latest.has_room():
            row = NOBODY
        if row != NOBODY and row == self.seen_row and key == self.seen_key:
            self.ignored_row, self.ignored_key = row, key
            row = NOBODY
        self.seen_row, self.seen_key = row, key


def bell_reader(Waiters waiters not None, dict queues not None):
    def rung():
        try:
            os.eventfd_read(waiters.bell)
        except BlockingIOError:
            return
        for queue in list(queues.values()):
            queue.awake()
    return rung
