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

When as many wait as may, the youngest of the lowest class makes way for a newcomer of a higher one.  If it waits in the
newcomer's worker, it leaves its place; if in another, the newcomer stands in line without being counted, at most 64 of a
worker for 100 ms, and rings for that worker to let its last one go.

Where the cluster has `max_connections`, a place is of no use without a connection, and idle ones count.  Who finds that all
are taken waits, and rings all bells; a worker that keeps an idle one while the first of all waits in another closes it.

Cost: to enter and to leave, a few steps, and one look at the counts of the endpoints and at the cells of the rows; with
nobody waiting, a request looks once at one gauge before it, and once after.
"""

from collections import namedtuple

cimport cython
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.ref cimport PyObject

from shardproxy.balancing.cluster cimport FULL
from shardproxy.http1.faults cimport Fault
from shardproxy.shm.clock cimport now_ns
from shardproxy.shm.debug cimport WAITERS, born, gone
from shardproxy.shm.gauges cimport gauge_add, gauge_reserve, gauge_total, sp_gauge_fence
from shardproxy.shm.metrics cimport count, observe_ns
from shardproxy.shm.waiters cimport (
    CLASS_SHIFT, NOBODY, sp_waiter_rows, waiter_at, waiter_best, waiter_key, waiter_publish, waiter_ring
)
from .boundary cimport report
from .priority cimport rank_of

QueueNumbers = namedtuple("QueueNumbers", "queue end asking waiting queued timeouts refused time")

cdef enum:
    RETRY_AFTER_S = 1
    MAX_ASKING = 64             # in a worker
    ASKING_NS = 100_000_000     # how long
    LOOK_NS = 50_000_000        # how long until a worker with waiters looks by itself
    MAX_LOST_RACES = 16         # reservations that others were faster with, before the next look

cdef int64_t END = <int64_t>0x7fffffffffffffff      # less a key: the last of all has the smallest


@cython.final
cdef class Waiter(Timed):

    cdef int timed_out(self) except -1:
        cdef Exchange exchange = self.exchange      # held, since on its way out it leaves this place
        count(self.queue.metric_cells, self.queue.slots.timeouts, 1)
        exchange.refuse(Fault.QUEUE_TIMEOUT, RETRY_AFTER_S)
        return 0


@cython.final
cdef class Line:

    cdef void append(self, Waiter waiter) noexcept:
        waiter.line = self
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
        waiter.line = None


@cython.final
cdef class Queue(WaitingRoom):
    def __init__(self, Wheel wheel not None, Gauges gauges not None, Metrics metrics not None, Waiters waiters not None,
                 numbers):
        self.wheel = wheel
        self.gauges, self.metrics, self.waiters = gauges, metrics, waiters
        self.gauge_cells, self.metric_cells, self.cells = &gauges.cells, &metrics.cells, &waiters.cells
        self.slots.queue, self.slots.end, self.slots.asking = numbers.queue, numbers.end, numbers.asking
        self.slots.waiting, self.slots.queued = numbers.waiting, numbers.queued
        self.slots.timeouts, self.slots.refused, self.slots.time = numbers.timeouts, numbers.refused, numbers.time
        self.high, self.normal, self.low = Line(), Line(), Line()
        self.seen_row = self.ignored_row = NOBODY

    def __repr__(self):
        return f"<Queue waiting={gauge_total(self.gauge_cells, self.slots.waiting)} empty={self.is_empty}>"

    @property
    def is_empty(self):
        """Whether nobody waits in this worker."""
        return first_of(self) is <PyObject*>None

    # What exchanges say --------------------------------------------------------------------------------------------

    cdef bint is_busy(self) noexcept:
        return gauge_total(self.gauge_cells, self.slots.waiting) > 0

    cdef bint enter(self, object asker) except -1:
        cdef Exchange exchange = <Exchange>asker
        cdef int rank = rank_of(exchange.route, exchange.request)
        cdef Waiter waiter = Waiter.__new__(Waiter)
        cdef bint has_place
        self.note(exchange.cluster)
        has_place = gauge_reserve(self.gauge_cells, self.slots.waiting, self.latest_max) or self.make_room(rank)
        if not has_place and not self.has_room_elsewhere(rank):
            count(self.metric_cells, self.slots.refused, 1)
            return False
        waiter.wheel, waiter.queue, waiter.exchange = self.wheel, self, exchange
        waiter.rank, waiter.since_ns, waiter.standing = rank, now_ns(), COUNTED if has_place else ASKING
        waiter.set_deadline(waiter.since_ns + exchange.cluster.queue_timeout_ns)
        self.line_of(rank).append(waiter)
        exchange.wait_at(waiter)
        born(WAITERS)
        count(self.metric_cells, self.slots.queued, 1)
        self.publish()
        if not has_place:
            self.ask(1, rank)
        if self.timer.deadline == 0:
            self.set_deadline(waiter.since_ns + LOOK_NS)
        self.serve(exchange.cluster.balancing)
        return True

    cdef void leave(self, object place) noexcept:
        cdef Waiter waiter = <Waiter>place
        waiter.stop_timer()
        waiter.line.remove(waiter)
        waiter.exchange.leave_place()
        waiter.exchange = None
        gone(WAITERS)
        self.publish()
        if waiter.standing == COUNTED:
            gauge_add(self.gauge_cells, self.slots.waiting, -1)
        elif waiter.standing == ASKING:
            self.ask(-1, waiter.rank)

    cdef void freed(self, object giver) noexcept:
        """A place is free: whoever is first of all gets it."""
        sp_gauge_fence()
        if gauge_total(self.gauge_cells, self.slots.waiting) > 0:
            self.serve((<Exchange>giver).cluster.balancing)

    cdef void connection_ended(self) noexcept:
        sp_gauge_fence()
        if gauge_total(self.gauge_cells, self.slots.waiting) > 0:
            self.serve(self.latest)

    cdef void beg(self) noexcept:
        """The first here may have a place, but no connection: workers that keep idle ones look, and close one."""
        cdef int row
        if self.finds_connection():
            return
        for row in range(<int>sp_waiter_rows(self.cells.rows_used)):
            if row != self.cells.row:
                waiter_ring(self.cells, row)

    cdef int attach(self, object cluster) except -1:
        cdef EndpointPool pool
        self.note(<ClusterRuntime>cluster)
        for pool in (<ClusterRuntime>cluster).sources:
            pool.room = self
        return 0

    cdef void note(self, ClusterRuntime cluster) noexcept:
        """What whoever is woken goes by, if nobody waits here."""
        self.latest, self.latest_max = cluster.balancing, cluster.queue_max
        self.pool = None
        if PyList_GET_SIZE(cluster.sources):
            self.pool = <EndpointPool>PyList_GET_ITEM(cluster.sources, 0)

    def awake(self):
        if self.latest is not None:
            self.make_way()
            self.claim()
            self.serve(self.latest)

    cdef int timed_out(self) except -1:
        """Every 50 to 100 ms while somebody waits in this worker."""
        if first_of(self) is <PyObject*>None:
            return 0
        self.set_deadline(now_ns() + LOOK_NS)
        self.claim()
        self.refuse_askers()
        self.beg()
        self.overtake_the_stalled()
        self.serve(self.latest)
        return 0

    # Inside --------------------------------------------------------------------------------------------------------

    cdef Line line_of(self, int rank):
        return self.high if rank == 0 else self.normal if rank == 1 else self.low

    cdef void publish(self) noexcept:
        """Say who is first in this worker, and who is last."""
        cdef int64_t first = 0, last = 0
        cdef PyObject* waiter = <PyObject*>first_of(self)
        if waiter is not <PyObject*>None:
            first = waiter_key((<Waiter>waiter).rank, (<Waiter>waiter).since_ns)
        waiter = <PyObject*>last_of(self)
        if waiter is not <PyObject*>None:
            last = END - waiter_key((<Waiter>waiter).rank, (<Waiter>waiter).since_ns)
        waiter_publish(self.cells, self.slots.queue, first)
        waiter_publish(self.cells, self.slots.end, last)

    # boundary
    cdef void serve(self, Cluster cluster) noexcept:
        """While there is room, to whoever is first; ring if that is another worker's.  Never entered twice: what happens
        meanwhile is seen in the next turn of the loop."""
        if self.is_serving:
            return
        self.is_serving = True
        try:
            self.serve_while_room(cluster)
        except BaseException as error:
            report(error, self)
        self.is_serving = False

    cdef int serve_while_room(self, Cluster cluster) except -1:
        cdef Waiter waiter
        cdef int row, lost = 0
        while lost < MAX_LOST_RACES and cluster.has_room():
            row = waiter_best(self.cells, self.slots.queue, self.ignored_row, self.ignored_key)
            if row != self.cells.row:
                if row != NOBODY:
                    if self.pool is not None and self.pool.is_full():
                        self.pool.close_an_idle_one()
                    waiter_ring(self.cells, row)
                break
            if not self.finds_connection():
                break
            waiter = <Waiter>first_of(self)
            cluster = waiter.exchange.cluster.balancing
            if not self.admit(waiter):
                lost += 1
        return 0

    cdef bint admit(self, Waiter waiter) except -1:
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
        take(exchange, endpoint)
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

    # Making way for a higher class, when as many wait as may ---------------------------------------------------------

    cdef bint make_room(self, int rank) except -1:
        """The last here goes, if none in another worker is of a lower class; it leaves its place to one of class `rank`."""
        cdef int row = waiter_best(self.cells, self.slots.end, NOBODY, 0)
        cdef Waiter last = <Waiter>last_of(self)
        if last is None or row == NOBODY or last.rank < end_rank(waiter_at(self.cells, self.slots.end, row)):
            return False
        return self.push_out(rank, GONE)

    cdef bint has_room_elsewhere(self, int rank) noexcept:
        """Somebody of a lower class than `rank` waits in another worker, which can be asked to let it go."""
        cdef int row = waiter_best(self.cells, self.slots.end, NOBODY, 0)
        return (row != NOBODY and row != self.cells.row and self.asking[0] + self.asking[1] < MAX_ASKING
                and end_rank(waiter_at(self.cells, self.slots.end, row)) > rank)

    cdef bint push_out(self, int rank, Standing standing) except -1:
        """The last here goes, if it is of a lower class than `rank`; as GONE it leaves its place behind."""
        cdef Waiter last = <Waiter>last_of(self)
        cdef Exchange refused
        if last is None or last.rank <= rank:
            return False
        last.standing = standing
        refused = last.exchange
        count(self.metric_cells, self.slots.refused, 1)
        refused.refuse(Fault.OVERFLOW, RETRY_AFTER_S)
        return True

    cdef void ask(self, int change, int rank) noexcept:
        """One more, or one fewer, asks for the place of a lower class; the worker that has the last one is told."""
        cdef int row
        self.asking[rank] += change
        rank = 0 if self.asking[0] else 1
        waiter_publish(self.cells, self.slots.asking, waiter_key(rank, 1) if self.asking[rank] else 0)
        if self.asking[rank]:
            row = waiter_best(self.cells, self.slots.end, NOBODY, 0)
            if row != NOBODY and row != self.cells.row:
                waiter_ring(self.cells, row)

    cdef int make_way(self) except -1:
        """Somebody asks, and the last of all waits here: it goes, and the asker is told that a place is free."""
        cdef int row = waiter_best(self.cells, self.slots.asking, NOBODY, 0)
        if row == NOBODY or row == self.cells.row:
            return 0
        if (gauge_total(self.gauge_cells, self.slots.waiting) < self.latest_max
                or (waiter_best(self.cells, self.slots.end, NOBODY, 0) == self.cells.row
                    and self.push_out(<int>(waiter_at(self.cells, self.slots.asking, row) >> CLASS_SHIFT), COUNTED))):
            waiter_ring(self.cells, row)
        return 0

    cdef int claim(self) except -1:
        """A place that was made free is for whoever has asked for it longest."""
        cdef Waiter asker
        while (self.asking[0] + self.asking[1]
                and gauge_reserve(self.gauge_cells, self.slots.waiting, self.latest_max)):
            asker = self.oldest_asker()
            asker.standing = COUNTED
            self.publish()
            self.ask(-1, asker.rank)
        return 0

    cdef Waiter oldest_asker(self):
        """Of the best class.  Cost: a step for each that came after it."""
        cdef Line line = self.high if self.asking[0] else self.normal
        cdef int left = self.asking[0] if self.asking[0] else self.asking[1]
        cdef Waiter waiter = line.youngest
        while waiter is not None:
            left -= waiter.standing == ASKING
            if left == 0:
                break
            waiter = waiter.older
        return waiter

    cdef int refuse_askers(self) except -1:
        """Nobody made way for them in time."""
        cdef Waiter asker
        cdef Exchange refused
        while self.asking[0] + self.asking[1]:
            asker = self.oldest_asker()
            if now_ns() - asker.since_ns < ASKING_NS:
                return 0
            refused = asker.exchange
            count(self.metric_cells, self.slots.refused, 1)
            refused.refuse(Fault.OVERFLOW, RETRY_AFTER_S)
        return 0

    cdef bint finds_connection(self) noexcept:
        """Whoever is first here would get a connection; so, too, if nobody waits here."""
        cdef PyObject* waiter = <PyObject*>first_of(self)
        cdef PyObject* sources
        if waiter is <PyObject*>None:
            return True
        sources = <PyObject*>(<Waiter>waiter).exchange.cluster.sources
        return (PyList_GET_SIZE(<list>sources) == 0
                or (<EndpointPool>PyList_GET_ITEM(<list>sources, 0)).can_connect())


# boundary
cdef void take(Exchange exchange, int endpoint) noexcept:
    """What fails here is that exchange's, and of nobody else whose turn it is."""
    try:
        exchange.take(endpoint)
        exchange.flush_origin()
    except BaseException as error:
        exchange.crash(report(error, exchange))


# Borrowed references, so that they can be looked at where nothing may raise; None = nobody waits.
cdef PyObject* first_of(Queue queue) noexcept:
    if queue.high.oldest is not None:
        return <PyObject*>queue.high.oldest
    return <PyObject*>(queue.normal.oldest if queue.normal.oldest is not None else queue.low.oldest)


cdef PyObject* last_of(Queue queue) noexcept:
    """The youngest of the lowest class that has a place to give; not looked for behind one that asks for a place."""
    cdef Waiter last = queue.low.youngest
    if last is None:
        last = queue.normal.youngest
    if last is None:
        last = queue.high.youngest
    return <PyObject*>last if last is not None and last.standing == COUNTED else <PyObject*>None


cdef inline int end_rank(int64_t key) noexcept nogil:
    return <int>((END - key) >> CLASS_SHIFT)
