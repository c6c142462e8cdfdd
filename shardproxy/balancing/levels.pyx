"""How requests are shared out over priorities and zones: Envoy's rule (priority.rst, panic_threshold.rst).

A level has health min(100, overprovisioning * healthy / total) percent. Levels are filled in their order, each with
no more than its health, until 100 % are shared out; when all of them together have less, each gets its part of that.
All divisions round down, and what rounding leaves goes to the first level that has health, as in Envoy's
load_balancer_base.cc. When not even all levels together can take 100 %, those with fewer healthy endpoints than the
panic threshold ignore health; when all levels are so, requests are shared out by the sizes of the levels.
"""

from libc.stdlib cimport calloc, free

from shardproxy.shm.decisions cimport Decisions, decision_is_out, decisions_generation


cdef class Levels:
    def __cinit__(self, level_of, decision_of, *, int overprovisioning, int panic_threshold):
        self.endpoints, self.count = len(level_of), max(level_of) + 1
        if set(level_of) != set(range(self.count)) or len(decision_of) != self.endpoints:
            raise ValueError("levels go from 0 without a gap, and every endpoint has a decision")
        self.level_of = <int*>calloc(self.endpoints, sizeof(int))
        self.decision_of = <int*>calloc(self.endpoints, sizeof(int))
        self.levels = <Level*>calloc(self.count, sizeof(Level))
        if self.level_of == NULL or self.decision_of == NULL or self.levels == NULL:
            raise MemoryError
        for i in range(self.endpoints):
            self.level_of[i], self.decision_of[i] = level_of[i], decision_of[i]
            self.levels[self.level_of[i]].total += 1
        self.overprovisioning, self.panic_threshold = overprovisioning, panic_threshold

    def __dealloc__(self):
        free(self.level_of)
        free(self.decision_of)
        free(self.levels)

    # hot
    cdef void look(self, const Decision* decisions, int64_t generation) noexcept:
        """Cost: one comparison; one look at every endpoint's decision after any decision has changed."""
        if self.looked and generation == self.seen:
            return
        self.looked, self.seen = True, generation
        self.count_healthy(decisions)
        self.share_out()

    # hot
    cdef int draw(self, uint64_t chance) noexcept:
        """A level in proportion to its load.  Cost: one look at every level."""
        cdef int level, left = <int>(chance % 100)
        for level in range(self.count):
            left -= self.levels[level].load
            if left < 0:
                return level
        return 0

    cdef bint has_anybody(self) noexcept:
        """Whether a level that gets requests has endpoints for them."""
        cdef int level
        for level in range(self.count):
            if self.levels[level].load > 0 and (self.levels[level].panics or self.levels[level].healthy > 0):
                return True
        return False

    cdef void count_healthy(self, const Decision* decisions) noexcept:
        cdef int i
        for i in range(self.count):
            self.levels[i].healthy = 0
        for i in range(self.endpoints):
            if not decision_is_out(decisions, self.decision_of[i]):
                self.levels[self.level_of[i]].healthy += 1

    cdef void share_out(self) noexcept:
        cdef int total = self.total_health()
        if total > 0:
            self.spread_by_health(total)
        if self.see_panic(total):
            self.spread_by_size()

    cdef int total_health(self) noexcept:
        cdef int i, total = 0
        for i in range(self.count):
            self.levels[i].load = 0
            self.levels[i].health = min(100, self.overprovisioning * self.levels[i].healthy // self.levels[i].total)
            total += self.levels[i].health
        return min(100, total)

    cdef void spread_by_health(self, int total) noexcept:
        cdef int i, first = -1, left = 100
        for i in range(self.count):
            if first < 0 and self.levels[i].health > 0:
                first = i
            self.levels[i].load = min(left, self.levels[i].health * 100 // total)
            left -= self.levels[i].load
        self.levels[first].load += left

    cdef bint see_panic(self, int total) noexcept:
        """Whether all levels are in panic."""
        cdef int i
        cdef bint everywhere = True
        if self.panic_threshold == 0 and total == 0:
            self.levels[0].load = 100  # nobody is healthy, and health is never ignored: requests end here
        for i in range(self.count):
            self.levels[i].panics = (
                total < 100 and self.levels[i].healthy * 100 < self.panic_threshold * self.levels[i].total
            )
            everywhere = everywhere and self.levels[i].panics
        return everywhere

    cdef void spread_by_size(self) noexcept:
        cdef int i, left = 100
        for i in range(self.count):
            self.levels[i].load = 100 * self.levels[i].total // self.endpoints
            left -= self.levels[i].load
        self.levels[0].load += left

    def shares(self, Decisions decisions not None):
        self.look(decisions.base, decisions_generation(decisions.base, decisions.slots))
        return [
            (self.levels[i].total, self.levels[i].healthy, self.levels[i].load, bool(self.levels[i].panics))
            for i in range(self.count)
        ]
