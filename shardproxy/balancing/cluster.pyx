"""Choosing an endpoint: pick, reserve, and the next one when somebody else was faster."""

from collections import namedtuple

from libc.stdlib cimport calloc, free

from shardproxy.shm.decisions cimport Decisions, decision_is_out, decisions_generation
from shardproxy.shm.gauges cimport gauge_add, gauge_reserve, gauge_total, sp_gauge_fence
from shardproxy.shm.metrics cimport Metrics, count

EndpointSpec = namedtuple("EndpointSpec", "active weight cap decision", defaults=[0])
Health = namedtuple("Health", "decisions panic_threshold metrics panics levels", defaults=[None])

cdef enum:
    MAX_TRIES = 64          # endpoints that may turn out full between the look and the reservation

POLICIES = {"least_connection": LEAST_CONNECTION, "round_robin": ROUND_ROBIN, "random": RANDOM}


cdef class Cluster:
    def __cinit__(self, Gauges gauges not None, endpoints, *, str policy, int requests, requests_cap, uint64_t seed,
                  health=None):
        self.endpoints = <EndpointState*>calloc(len(endpoints), sizeof(EndpointState))
        if self.endpoints == NULL:
            raise MemoryError
        for spec in endpoints:
            self.endpoints[self.count].active = spec.active
            self.endpoints[self.count].weight = spec.weight
            self.endpoints[self.count].cap = NO_CAP if spec.cap is None else spec.cap
            self.endpoints[self.count].decision = spec.decision
            self.count += 1
        self.policy = POLICIES[policy]
        self.requests = requests
        self.requests_cap = NO_CAP if requests_cap is None else requests_cap
        self.gauges = gauges
        self.cells = &gauges.cells
        self.random = seed | 1
        if health is not None:
            self.watch(health)

    cdef watch(self, health):
        cdef Decisions decisions = health.decisions
        cdef Metrics metrics = health.metrics
        cdef int i
        for i in range(self.count):
            decisions.cell(self.endpoints[i].decision)
        self.health, self.levels = health, health.levels
        self.decision_slots, self.seen = decisions.slots, -1
        self.decisions, self.metrics = decisions.base, &metrics.cells
        self.panic_threshold, self.panics = health.panic_threshold, health.panics

    def __dealloc__(self):
        free(self.endpoints)

    # hot
    cdef int choose(self) noexcept:
        """An endpoint with its slot reserved, FULL or UNHEALTHY.  Cost: one look at every endpoint's shared count."""
        cdef int index
        if self.decisions != NULL and self.look_at_health() == UNHEALTHY:
            return UNHEALTHY
        if self.requests_cap != NO_CAP and not gauge_reserve(self.cells, self.requests, self.requests_cap):
            return FULL
        index = self.choose_endpoint(0)
        if index == FULL and self.requests_cap != NO_CAP:
            gauge_add(self.cells, self.requests, -1)
        return index

    cdef int choose_except(self, uint64_t excluded) noexcept:
        """As choose(), but one of `excluded` only when no other can take the request.  Beyond the first 64 endpoints
        none can be excluded."""
        cdef int index
        if self.decisions != NULL and self.look_at_health() == UNHEALTHY:
            return UNHEALTHY
        if self.requests_cap != NO_CAP and not gauge_reserve(self.cells, self.requests, self.requests_cap):
            return FULL
        index = self.choose_endpoint(excluded)
        if index == FULL and excluded:
            index = self.choose_endpoint(0)
        if index == FULL and self.requests_cap != NO_CAP:
            gauge_add(self.cells, self.requests, -1)
        return index

    # hot
    cdef void release(self, int index) noexcept:
        gauge_add(self.cells, self.endpoints[index].active, -1)
        if self.requests_cap != NO_CAP:
            gauge_add(self.cells, self.requests, -1)

    cdef bint has_room(self) noexcept:
        """Whether a choice would find a place now, for all that the counts say: for who waits.  The fence lets whoever
        has just said that he waits, or backed out of a reservation, see the places that others gave back before.
        Cost: one look at every endpoint's shared count."""
        cdef int i
        sp_gauge_fence()
        if self.requests_cap != NO_CAP and gauge_total(self.cells, self.requests) >= self.requests_cap:
            return False
        if self.levels is None:
            return self.has_place()
        self.look_at_health()
        for i in range(self.levels.count):
            self.enter(i)
            if self.levels.levels[i].load > 0 and self.has_place():
                return True
        return False

    cdef bint has_place(self) noexcept:
        cdef int i
        for i in range(self.count):
            if self.is_eligible(i, 0) and not self.is_full(&self.endpoints[i]):
                return True
        return False

    # hot
    cdef int look_at_health(self) noexcept:
        """Envoy's panic threshold (panic_threshold.rst): when too few are healthy, those few would only be the next to
        fall, and the checks themselves may be wrong; then all are used.  UNHEALTHY when nobody is left to choose from.
        """
        cdef int healthy
        cdef int64_t generation = decisions_generation(self.decisions, self.decision_slots)
        if self.levels is not None:
            self.levels.look(self.decisions, generation)
            return 0 if self.levels.has_anybody() else UNHEALTHY
        if generation != self.seen:
            self.seen, self.healthy = generation, self.count_healthy()
        healthy = self.healthy
        if healthy * 100 < self.panic_threshold * self.count:
            self.heeded = NULL
            count(self.metrics, self.panics, 1)
            return healthy
        self.heeded = self.decisions
        return UNHEALTHY if healthy == 0 and self.count > 0 else healthy

    cdef int count_healthy(self) noexcept:
        """Cost: one look at every decision; only after one has changed."""
        cdef int i, healthy = 0
        for i in range(self.count):
            healthy += not decision_is_out(self.decisions, self.endpoints[i].decision)
        return healthy

    # hot
    cdef int choose_endpoint(self, uint64_t excluded) noexcept:
        return self.choose_within(excluded) if self.levels is None else self.choose_by_level(excluded)

    # hot
    cdef int choose_by_level(self, uint64_t excluded) noexcept:
        """In the level that is drawn, otherwise in the others that get requests: being full is no reason to turn to a
        level that gets none, but having been tried is.  Cost: as choose_within(), for each level that is tried."""
        cdef int level, index, drawn = self.levels.draw(self.next_random())
        if self.levels.levels[drawn].panics:
            count(self.metrics, self.panics, 1)
        self.enter(drawn)
        index = self.choose_within(excluded)
        for level in range(self.levels.count):
            if index != FULL:
                break
            if level != drawn and (excluded or self.levels.levels[level].load > 0):
                self.enter(level)
                index = self.choose_within(excluded)
        return index

    # hot
    cdef void enter(self, int level) noexcept:
        self.levels.now = level
        self.heeded = NULL if self.levels.levels[level].panics else self.decisions

    # hot
    cdef int choose_within(self, uint64_t excluded) noexcept:
        cdef int tries, index
        for tries in range(min(self.count, MAX_TRIES)):
            index = self.pick(excluded)
            if index == FULL or self.reserve(index):
                return index
            if index < 64:
                excluded |= <uint64_t>1 << index
        return FULL

    # hot
    cdef bint reserve(self, int index) noexcept:
        cdef EndpointState* endpoint = &self.endpoints[index]
        if endpoint.cap != NO_CAP:
            return gauge_reserve(self.cells, endpoint.active, endpoint.cap)
        gauge_add(self.cells, endpoint.active, 1)
        return True

    # hot
    cdef int pick(self, uint64_t excluded) noexcept:
        if self.policy == LEAST_CONNECTION:
            return self.least_connection(excluded)
        if self.policy == ROUND_ROBIN:
            return self.round_robin(excluded)
        return self.weighted_random(excluded)

    # hot
    cdef int least_connection(self, uint64_t excluded) noexcept:
        """Smallest (active + 1) / weight; among equals each is as likely (reservoir sampling), so that workers that
        look at the same moment do not all run to the same endpoint.  Envoy's FULL_SCAN with active_request_bias 1."""
        cdef int i, best = FULL, ties = 0
        cdef int64_t active, load, best_load = 0, best_weight = 1
        cdef EndpointState* endpoint
        for i in range(self.count):
            endpoint = &self.endpoints[i]
            if not self.is_eligible(i, excluded):
                continue
            active = gauge_total(self.cells, endpoint.active)
            if endpoint.cap != NO_CAP and active >= endpoint.cap:
                continue
            load = (active + 1) * best_weight - best_load * endpoint.weight  # below 0: less loaded than the best
            if best == FULL or load < 0:
                best, ties = i, 1
                best_load, best_weight = active + 1, endpoint.weight
            elif load == 0:
                ties += 1
                if self.next_random() % <uint64_t>ties == 0:
                    best = i
        return best

    cdef int round_robin(self, uint64_t excluded) noexcept:
        """Smooth weighted round robin (nginx): each gains its weight, the richest is taken and pays the sum."""
        cdef int i, best = FULL
        cdef int64_t total = 0
        cdef EndpointState* endpoint
        for i in range(self.count):
            endpoint = &self.endpoints[i]
            if not self.is_eligible(i, excluded) or self.is_full(endpoint):
                continue
            endpoint.current += endpoint.weight
            total += endpoint.weight
            if best == FULL or endpoint.current > self.endpoints[best].current:
                best = i
        if best != FULL:
            self.endpoints[best].current -= total
        return best

    cdef int weighted_random(self, uint64_t excluded) noexcept:
        """Each in proportion to its weight, by reservoir sampling in one walk."""
        cdef int i, best = FULL
        cdef uint64_t total = 0
        cdef EndpointState* endpoint
        for i in range(self.count):
            endpoint = &self.endpoints[i]
            if not self.is_eligible(i, excluded) or self.is_full(endpoint):
                continue
            total += endpoint.weight
            if self.next_random() % total < <uint64_t>endpoint.weight:
                best = i
        return best

    # hot
    cdef bint is_eligible(self, int index, uint64_t excluded) noexcept:
        """Neither tried before nor out, and of the level that is chosen in."""
        if self.levels is not None and self.levels.level_of[index] != self.levels.now:
            return False
        return not is_excluded(excluded, index) and not is_out(self.heeded, &self.endpoints[index])

    cdef bint is_full(self, EndpointState* endpoint) noexcept:
        return endpoint.cap != NO_CAP and gauge_total(self.cells, endpoint.active) >= endpoint.cap

    # hot
    cdef uint64_t next_random(self) noexcept:
        """xorshift64* (Vigna 2016): quick, and good enough to break ties."""
        self.random ^= self.random >> 12
        self.random ^= self.random << 25
        self.random ^= self.random >> 27
        return (self.random * <uint64_t>2685821657736338717) >> 11

    def take(self, uint64_t excluded=0):
        return self.choose_except(excluded)

    def give(self, int index):
        if not 0 <= index < self.count:
            raise IndexError(f"there is no endpoint {index}")
        self.release(index)


cdef inline bint is_out(const Decision* heeded, const EndpointState* endpoint) noexcept nogil:
    return heeded != NULL and decision_is_out(heeded, endpoint.decision)


cdef inline bint is_excluded(uint64_t excluded, int index) noexcept nogil:
    return index < 64 and (excluded >> index) & 1
