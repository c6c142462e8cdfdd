"""Choosing an endpoint: pick, reserve, and the next one when somebody else was faster."""

from collections import namedtuple

from shardproxy.shm.decisions cimport Decisions, decision_is_out, decisions_generation
from shardproxy.shm.gauges cimport gauge_add, gauge_reserve, gauge_total, sp_gauge_fence
from shardproxy.shm.metrics cimport Metrics, count
from shardproxy.shm.words cimport Words, word_load
from .endpoints cimport EndpointState
from .chance import Chance
from .hashes import Maglev, Ring
from .latency import PeakEwma
from .loads import LeastConnection
from .turns import First, RoundRobin

from .endpoints import EndpointSpec, SlowStart  # noqa: F401, for who builds clusters

Health = namedtuple("Health", "decisions panic_threshold metrics panics levels", defaults=[None])
PolicyTerms = namedtuple("PolicyTerms", "names decay_ns hash_balance_factor")
AdaptiveCap = namedtuple("AdaptiveCap", "words slot start most metrics would_refuse", defaults=[None, -1])

cdef enum:
    MAX_TRIES = 64          # endpoints that may turn out full between the look and the reservation

POLICIES = {
    "least_connection": LeastConnection, "round_robin": RoundRobin, "random": Chance, "first": First,
    "peak_ewma": PeakEwma, "ring_hash": Ring, "maglev": Maglev,
}

cdef int64_t COUNTED_ONLY = <int64_t>1 << 62  # a cap that nobody reaches: the sum is wanted, not the refusal


cdef class Cluster(Endpoints):
    def __init__(self, gauges, endpoints, *, str policy, int requests, requests_cap, seed, health=None, words=None,
                 turn=-1, slow_start=None, int64_t decay_ns=10_000_000_000, int hash_balance_factor=0,
                 adaptive=None):
        names = [spec.name or str(number).encode() for number, spec in enumerate(endpoints)]
        self.policy = POLICIES[policy](self, PolicyTerms(names, decay_ns, hash_balance_factor))
        self.wants_times = self.policy.wants_times
        if requests_cap is not None:
            self.requests_cap = requests_cap
        else:
            self.requests_cap = COUNTED_ONLY if hash_balance_factor else NO_CAP
        if health is not None:
            self.watch(health)
        if adaptive is not None:
            self.adapt(adaptive)

    def adapt(self, adaptive):
        """Heed a word of the shared memory as a cap, beside the one that is configured."""
        cdef Words words = adaptive.words
        self.adaptive, self.adaptive_words = words.word(adaptive.slot), words
        self.adaptive_start, self.adaptive_metrics = adaptive.start, adaptive.metrics
        self.would_refuse = adaptive.would_refuse
        if self.requests_cap == NO_CAP or self.requests_cap == COUNTED_ONLY:
            self.requests_cap = adaptive.most if self.adaptive_metrics is None else COUNTED_ONLY

    cdef watch(self, health):
        cdef Decisions decisions = health.decisions
        cdef Metrics metrics = health.metrics
        cdef int i
        for i in range(self.count):
            decisions.cell(self.endpoints[i].decision)
        self.health, self.levels = health, health.levels
        if self.levels is not None:
            self.level_of = self.levels.level_of
        self.decision_slots, self.seen = decisions.slots, -1
        self.decisions, self.metrics = decisions.base, &metrics.cells
        self.panic_threshold, self.panics = health.panic_threshold, health.panics

    # hot
    cdef int choose(self) noexcept:
        """An endpoint with its slot reserved, FULL or UNHEALTHY.  Cost: one look at every endpoint's shared count."""
        cdef int index
        if self.decisions != NULL and self.look_at_health() == UNHEALTHY:
            return UNHEALTHY
        if self.requests_cap != NO_CAP and not gauge_reserve(self.cells, self.requests, self.allowed()):
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
        if self.requests_cap != NO_CAP and not gauge_reserve(self.cells, self.requests, self.allowed()):
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
        if self.requests_cap != NO_CAP and gauge_total(self.cells, self.requests) >= self.allowed():
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
            if self.can_take(i, 0):
                return True
        return False

    # hot
    cdef int64_t allowed(self) noexcept:
        """The cap of the whole cluster, as it is now."""
        cdef int64_t found
        if self.adaptive == NULL:
            return self.requests_cap
        found = word_load(self.adaptive)
        if found <= 0:
            found = self.adaptive_start
        if self.adaptive_metrics is not None:
            if gauge_total(self.cells, self.requests) >= found:
                count(&self.adaptive_metrics.cells, self.would_refuse, 1)
            return self.requests_cap
        return min(self.requests_cap, found)

    cdef bint is_short_for(self, int rank) noexcept:
        """Whether what is left of an adaptive cap is kept for higher classes: a quarter from the low one, a twentieth
        from the normal one."""
        cdef int64_t allowed
        if self.adaptive == NULL or rank == 0 or self.adaptive_metrics is not None:
            return False
        allowed = self.allowed()
        return gauge_total(self.cells, self.requests) >= allowed - allowed // (20 if rank == 1 else 4)

    # hot
    cdef int look_at_health(self) noexcept:
        """Envoy's panic threshold (panic_threshold.rst): when too few are healthy, those few would only be the next to
        fall, and the checks themselves may be wrong; then all are used.  UNHEALTHY when nobody is left to choose from.
        """
        cdef int healthy
        cdef int64_t generation = decisions_generation(self.decisions, self.decision_slots)
        if self.slow_ns:
            self.see_all_out()
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

    cdef void see_all_out(self) noexcept:
        """Slow start begins when an endpoint was last seen to be out.  Cost: one look at every decision, each time."""
        cdef int i
        for i in range(self.count):
            if decision_is_out(self.decisions, self.endpoints[i].decision):
                self.see_out(i)

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
        cdef int level, index, drawn = self.levels.draw(self.key if self.has_key else self.next_random())
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
        self.level = level
        self.heeded = NULL if self.levels.levels[level].panics else self.decisions

    # hot
    cdef int choose_within(self, uint64_t excluded) noexcept:
        cdef int tries, index
        for tries in range(min(self.count, MAX_TRIES)):
            index = self.policy.pick(self, excluded)
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

    cdef int choose_hashed(self, uint64_t key, uint64_t excluded) noexcept:
        """As choose_except(), where requests of the same key belong together, if the policy keeps them so."""
        cdef int index
        self.key, self.has_key = key, True
        index = self.choose_except(excluded)
        self.has_key = False
        return index

    cdef void observe(self, int index, int64_t took_ns, bint failed) noexcept:
        """A response took so long, or did not come; only if the policy `wants_times`."""
        self.policy.observe(self, index, took_ns, failed)

    def take(self, uint64_t excluded=0, key=None):
        if key is None:
            return self.choose_except(excluded)
        return self.choose_hashed(key, excluded)

    def took(self, int index, int64_t took_ns, bint failed=False):
        if not 0 <= index < self.count:
            raise IndexError(f"there is no endpoint {index}")
        self.observe(index, took_ns, failed)

    def give(self, int index):
        if not 0 <= index < self.count:
            raise IndexError(f"there is no endpoint {index}")
        self.release(index)

