"""What all policies share: who may be taken, how much an endpoint weighs now, and a die."""

from collections import namedtuple

from libc.math cimport pow
from libc.stdlib cimport calloc, free

from shardproxy.shm.clock cimport coarse_ns
from shardproxy.shm.decisions cimport decision_is_out
from shardproxy.shm.gauges cimport gauge_total
from shardproxy.shm.words cimport Words, word_load, word_store

EndpointSpec = namedtuple("EndpointSpec", "active weight cap decision name latency since", defaults=[0, b"", -1, -1])
SlowStart = namedtuple("SlowStart", "window_ns aggression min_weight_percent")

cdef enum:
    NS_PER_S = 1_000_000_000
    SEEN_OUT_STEPS = 64     # how exactly the end of an outage is known: a 64th of the window


cdef class Endpoints:
    def __cinit__(self, Gauges gauges not None, endpoints, *args, int requests=0, uint64_t seed=1, Words words=None,
                  int turn=-1, slow_start=None, **others):
        self.endpoints = <EndpointState*>calloc(max(len(endpoints), 1), sizeof(EndpointState))
        if self.endpoints == NULL:
            raise MemoryError
        for spec in endpoints:
            describe(&self.endpoints[self.count], spec, words)
            self.count += 1
        self.gauges, self.cells, self.words = gauges, &gauges.cells, words
        self.turn = words.word(turn) if turn >= 0 else &self.turn_alone
        self.requests = requests
        self.random = seed | 1
        if slow_start is not None:
            self.slow_ns = slow_start.window_ns
            self.slow_power = 1 / slow_start.aggression
            self.slow_least = slow_start.min_weight_percent / 100

    def __dealloc__(self):
        free(self.endpoints)

    # hot
    cdef bint is_eligible(self, int index, uint64_t excluded) noexcept:
        """Neither tried before nor out, and of the level that is chosen in."""
        if self.level_of != NULL and self.level_of[index] != self.level:
            return False
        return not is_excluded(excluded, index) and not is_out(self.heeded, &self.endpoints[index])

    # hot
    cdef bint is_full(self, EndpointState* endpoint) noexcept:
        return endpoint.cap != NO_CAP and gauge_total(self.cells, endpoint.active) >= endpoint.cap

    # hot
    cdef bint can_take(self, int index, uint64_t excluded) noexcept:
        return self.is_eligible(index, excluded) and not self.is_full(&self.endpoints[index])

    # hot
    cdef int64_t weight_of(self, int index) noexcept:
        """In units of 1 / 1024, less in slow start; never 0."""
        cdef int64_t weight = <int64_t>self.endpoints[index].weight * WEIGHT_UNIT
        if self.slow_ns == 0:
            return weight
        return max(1, <int64_t>(weight * self.warmth(index)))

    cdef double warmth(self, int index) noexcept:
        """Envoy's slow start (slow_start.rst): (age / window) ^ (1 / aggression), from `min_weight_percent` up to 1.

        The age is counted from when the endpoint came, was last seen to be out, or its checks last changed; these
        are shared words, so all workers agree, before and after a hot restart."""
        cdef EndpointState* endpoint = &self.endpoints[index]
        cdef int64_t since = word_load(endpoint.since)
        cdef int64_t age
        if self.decisions != NULL:
            since = max(since, self.decisions[endpoint.decision].since_ns)
        age = max(<int64_t>NS_PER_S, coarse_ns() - since)
        if since == 0 or age >= self.slow_ns:
            return 1
        return max(self.slow_least, pow(<double>age / self.slow_ns, self.slow_power))

    cdef void see_out(self, int index) noexcept:
        """Who sees an endpoint out notes when, for its slow start: an ejection leaves no trace once it is over."""
        cdef int64_t now = coarse_ns()
        if now - word_load(self.endpoints[index].since) > self.slow_ns // SEEN_OUT_STEPS:
            word_store(self.endpoints[index].since, now)

    # hot
    cdef uint64_t next_random(self) noexcept:
        """xorshift64* (Vigna 2016): quick, and good enough to break ties.  53 bits."""
        self.random ^= self.random >> 12
        self.random ^= self.random << 25
        self.random ^= self.random >> 27
        return (self.random * <uint64_t>2685821657736338717) >> 11


cdef describe(EndpointState* state, spec, Words words):
    state.active, state.weight, state.decision = spec.active, spec.weight, spec.decision
    state.cap = NO_CAP if spec.cap is None else spec.cap
    state.latency = words.word(spec.latency) if spec.latency >= 0 else &state.alone[0]
    state.since = words.word(spec.since) if spec.since >= 0 else &state.alone[1]


cdef inline bint is_out(const Decision* heeded, const EndpointState* endpoint) noexcept nogil:
    return heeded != NULL and decision_is_out(heeded, endpoint.decision)


cdef inline bint is_excluded(uint64_t excluded, int index) noexcept nogil:
    return index < 64 and (excluded >> index) & 1


cdef class Policy:
    def __init__(self, Endpoints among not None, terms):
        pass

    cdef int pick(self, Endpoints among, uint64_t excluded) noexcept:
        return FULL

    cdef void observe(self, Endpoints among, int index, int64_t took_ns, bint failed) noexcept:
        pass
