# The line before a cluster that is full: this worker's part of it.
from libc.stdint cimport int64_t

from shardproxy.balancing.cluster cimport Cluster
from shardproxy.shm.gauges cimport GaugeCells, Gauges
from shardproxy.shm.metrics cimport MetricCells, Metrics
from shardproxy.shm.waiters cimport WaiterCells, Waiters
from .ends cimport WaitingRoom
from .exchange cimport Exchange
from .pool cimport EndpointPool
from .runtime cimport ClusterRuntime
from .timers cimport Timed, Wheel

cdef struct QueueSlots:
    int queue                   # who is first
    int end                     # who would make way for a higher class
    int asking                  # for which class somebody asks for that
    int waiting                 # gauge
    int queued                  # counters
    int timeouts
    int refused
    int time                    # histogram

cdef enum Standing:
    GONE                        # somebody else has its place
    COUNTED                     # it is in the gauge
    ASKING                      # it is not: it asks for the place of a lower class

cdef class Line

cdef class Waiter(Timed):
    cdef Queue queue
    cdef Exchange exchange
    cdef int rank
    cdef int64_t since_ns
    cdef Standing standing
    cdef Line line
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
    cdef Cluster latest         # that somebody waited for, and how many might
    cdef int64_t latest_max
    cdef EndpointPool pool      # one of its pools, which share max_connections
    cdef int[3] asking          # how many of each class
    cdef bint is_serving
    cdef int seen_row           # who was first when the timer last looked, and found room all the same
    cdef int64_t seen_key
    cdef int ignored_row        # who has been first for too long
    cdef int64_t ignored_key

    cdef Line line_of(self, int rank)
    cdef Waiter oldest_asker(self)
    cdef void publish(self) noexcept
    cdef void note(self, ClusterRuntime cluster) noexcept
    cdef bint make_room(self, int rank) except -1
    cdef bint has_room_elsewhere(self, int rank) noexcept
    cdef bint push_out(self, int rank, Standing standing) except -1
    cdef void ask(self, int change, int rank) noexcept
    cdef int make_way(self) except -1
    cdef int claim(self) except -1
    cdef int refuse_askers(self) except -1
    cdef void serve(self, Cluster cluster) noexcept
    cdef int serve_while_room(self, Cluster cluster) except -1
    cdef bint admit(self, Waiter waiter) except -1
    cdef bint finds_connection(self) noexcept
    cdef void overtake_the_stalled(self) noexcept
