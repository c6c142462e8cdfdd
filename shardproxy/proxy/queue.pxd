# The line before a cluster that is full: this worker's part of it.
from libc.stdint cimport int64_t

from shardproxy.balancing.cluster cimport Cluster
from shardproxy.shm.gauges cimport GaugeCells, Gauges
from shardproxy.shm.metrics cimport MetricCells, Metrics
from shardproxy.shm.waiters cimport WaiterCells, Waiters
from .ends cimport WaitingRoom
from .exchange cimport Exchange
from .timers cimport Timed, Wheel

cdef struct QueueSlots:
    int queue
    int waiting                 # gauge
    int queued                  # counters
    int timeouts
    int refused
    int time                    # histogram

cdef class Waiter(Timed):
    cdef Queue queue
    cdef Exchange exchange
    cdef int rank
    cdef int64_t since_ns
    cdef bint has_place         # it is counted in the gauge
    cdef Waiter older, younger

# Those of one class, in the order in which they came.
cdef class Line:
    cdef Waiter oldest, youngest

    cdef void append(self, Waiter waiter) noexcept
    cdef void remove(self, Waiter waiter) noexcept

cdef class Queue(WaitingRoom):
    cdef Gauges gauges          # these three keep what the next three point to
    cdef Metrics metrics
    cdef Waiters waiters
    cdef GaugeCells* gauge_cells
    cdef MetricCells* metric_cells
    cdef WaiterCells* cells
    cdef QueueSlots slots
    cdef Line high, normal, low
    cdef Cluster latest         # that somebody waited for
    cdef bint is_serving
    cdef int seen_row           # who was first when the timer last looked, and found room all the same
    cdef int64_t seen_key
    cdef int ignored_row        # who has been first for too long
    cdef int64_t ignored_key

    cdef Line line(self, int rank)
    cdef Waiter first(self)
    cdef void publish(self) noexcept
    cdef bint push_out(self, int rank) noexcept
    cdef void serve(self, Cluster cluster) noexcept
    cdef bint admit(self, Waiter waiter) noexcept
    cdef void overtake_the_stalled(self) noexcept
