# The endpoints of a cluster as a policy sees them: weights, the shared counts and words behind them, who may be taken.
from libc.stdint cimport int64_t, uint64_t

from shardproxy.shm.decisions cimport Decision
from shardproxy.shm.gauges cimport GaugeCells, Gauges

cdef enum:
    NO_CAP = -1
    FULL = -1               # what a choice answers when nobody may take one more request
    UNHEALTHY = -2          # ... and when no endpoint is healthy
    WEIGHT_UNIT = 1024      # weight_of() of an endpoint of weight 1 that has warmed up

cdef struct EndpointState:
    int active              # gauge: requests under way, over all processes
    int weight
    int64_t cap             # of `active`; NO_CAP
    int decision            # its slot
    int64_t* latency        # word: how long its responses take (latency.pyx)
    int64_t* since          # word: CLOCK_MONOTONIC when it came, or was last seen to be out; 0 = always there
    int64_t[2] alone        # in place of these words where nothing is shared

cdef class Endpoints:
    cdef EndpointState* endpoints
    cdef readonly int count
    cdef Gauges gauges      # keeps what `cells` points to
    cdef GaugeCells* cells
    cdef object words       # keeps what the pointers to words point to
    cdef int64_t* turn      # word: the position of a round robin
    cdef int64_t turn_alone
    cdef int requests       # gauge of the whole cluster, counted when it has a cap
    cdef uint64_t random
    cdef const Decision* decisions  # NULL: nobody looks after the health of these endpoints
    cdef const Decision* heeded     # within one choice: the decisions, or NULL to ignore them
    cdef const int* level_of        # by endpoint; NULL: all are of one level
    cdef int level          # within one choice: the one that is chosen in
    cdef uint64_t key       # within one choice, if has_key: the hash of what the request is to be kept together by
    cdef bint has_key
    cdef int64_t slow_ns    # the window of slow start; 0 = none
    cdef double slow_power  # 1 / aggression
    cdef double slow_least  # the factor to begin with

    cdef bint is_eligible(self, int index, uint64_t excluded) noexcept
    cdef bint is_full(self, EndpointState* endpoint) noexcept
    cdef bint can_take(self, int index, uint64_t excluded) noexcept
    cdef int64_t weight_of(self, int index) noexcept
    cdef double warmth(self, int index) noexcept
    cdef void see_out(self, int index) noexcept
    cdef uint64_t next_random(self) noexcept


cdef class Policy:
    cdef bint wants_times   # observe() is to be called

    # The next endpoint to try: eligible, and not full at the moment of the look; FULL if there is none.
    cdef int pick(self, Endpoints among, uint64_t excluded) noexcept
    # a response took so long, or did not come
    cdef void observe(self, Endpoints among, int index, int64_t took_ns, bint failed) noexcept
