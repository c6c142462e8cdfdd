"""Peak EWMA: what a request would cost at an endpoint, by how long its responses take and how many are under way.

The average of an endpoint is one shared word: in its upper half the milliseconds of CLOCK_MONOTONIC when it was last
moved (they wrap after 49 days, which only a difference would notice), in its lower half the nanoseconds as a float.
Whoever dies while writing leaves an old or a new one.  0: nothing is known.

As in Finagle (`PeakEwma.scala`) and Linkerd: a response that takes longer than the average lifts it at once, shorter
ones lower it slowly, and so does silence, so that an endpoint that was slow once is tried again.
"""

from libc.math cimport exp, fmax, fmin
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from shardproxy.shm.clock cimport coarse_ns
from shardproxy.shm.gauges cimport gauge_total
from shardproxy.shm.words cimport word_load, word_swap
from .endpoints cimport FULL, WEIGHT_UNIT

cdef enum:
    NS_PER_MS = 1_000_000
    MOST_SWAPS = 8          # then others have moved the average often enough without us

cdef double UNKNOWN_COST = 1e18         # of one more request where the first has not been answered yet
cdef double FAILED_TIMES = 4            # a failure counts as so many times the average ...
cdef double FAILED_LEAST_NS = 1e8       # ... at least 100 ms ...
cdef double FAILED_MOST_NS = 6e10       # ... at most a minute, if it did not take longer


cdef class PeakEwma(LeastConnection):
    def __init__(self, Endpoints among not None, terms):
        LeastConnection.__init__(self, among, terms)
        self.decay_ms = terms.decay_ns / <double>NS_PER_MS
        self.wants_times = True

    # hot
    cdef int scan(self, Endpoints among, uint64_t excluded) noexcept:
        """The smallest cost; among equals each is as likely.  Cost: per endpoint its count, a word and an exp()."""
        cdef uint32_t now_ms = clock_ms()
        cdef int i, best = FULL, ties = 0
        cdef double cost, least = 0
        for i in range(among.count):
            if not among.can_take(i, excluded):
                continue
            cost = self.cost(among, i, now_ms)
            if best == FULL or cost < least:
                best, ties, least = i, 1, cost
            elif cost == least:
                ties += 1
                if among.next_random() % <uint64_t>ties == 0:
                    best = i
        return best

    # hot
    cdef bint is_less(self, Endpoints among, int one, int other) noexcept:
        cdef uint32_t now_ms = clock_ms()
        return self.cost(among, one, now_ms) < self.cost(among, other, now_ms)

    # hot
    cdef double cost(self, Endpoints among, int index, uint32_t now_ms) noexcept:
        """Average x (active + 1) / weight.  An endpoint that nothing is known of costs nothing while it is idle, so that
        it is tried, and very much while its first request is under way."""
        cdef int64_t word = word_load(among.endpoints[index].latency)
        cdef int64_t active = gauge_total(among.cells, among.endpoints[index].active)
        cdef double average
        if word == 0:
            return 0 if active == 0 else UNKNOWN_COST + active
        average = time_in(word) * self.weight_left(word, now_ms)
        return average * <double>(active + 1) * WEIGHT_UNIT / <double>among.weight_of(index)

    # hot
    cdef double weight_left(self, int64_t word, uint32_t now_ms) noexcept:
        """Of the average after the time since it was moved: e^(-age / decay)."""
        cdef uint32_t age_ms = now_ms - <uint32_t>(<uint64_t>word >> 32)
        return 1 if age_ms > <uint32_t>1 << 31 else exp(-<double>age_ms / self.decay_ms)

    cdef void observe(self, Endpoints among, int index, int64_t took_ns, bint failed) noexcept:
        """Cost: an exp() and a compare-and-swap; a few more when workers meet."""
        cdef int64_t* word = among.endpoints[index].latency
        cdef int64_t seen = word_load(word)
        cdef uint32_t now_ms = clock_ms()
        cdef double took, average, left
        cdef int tries
        for tries in range(MOST_SWAPS):
            took, average, left = fmax(<double>took_ns, 1), time_in(seen), self.weight_left(seen, now_ms)
            if failed:
                took = fmax(took, fmin(fmax(FAILED_TIMES * average, FAILED_LEAST_NS), FAILED_MOST_NS))
            if seen != 0 and took < average:
                took = average * left + took * (1 - left)
            if word_swap(word, &seen, packed(took, now_ms)):
                return


cdef inline uint32_t clock_ms() noexcept nogil:
    return <uint32_t>(coarse_ns() // NS_PER_MS)


cdef inline double time_in(int64_t word) noexcept nogil:
    cdef uint32_t bits = <uint32_t>word
    cdef float time
    memcpy(&time, &bits, sizeof(time))
    return time


cdef inline int64_t packed(double time, uint32_t now_ms) noexcept nogil:
    cdef float single = <float>time
    cdef uint32_t bits
    memcpy(&bits, &single, sizeof(bits))
    return <int64_t>(<uint64_t>now_ms << 32 | bits)
