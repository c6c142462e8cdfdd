"""Policies that go by order: round robin, whose position all workers share, and the first that has room."""

from itertools import accumulate
from math import gcd

from libc.stdlib cimport calloc, free

from shardproxy.shm.words cimport word_load, word_swap
from .endpoints cimport FULL

cdef enum:
    MOST_SEQUENCE = 8192        # places of a round that is written down: 32 KiB
    MOST_WORK = 1 << 24         # endpoints times places that may be gone through to write it: about 30 ms
    SPARE_STEPS = 64

cdef uint64_t GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio


cdef class RoundRobin(Policy):
    def __init__(self, Endpoints among not None, terms):
        cdef int i
        weights = [among.endpoints[i].weight for i in range(among.count)]
        divisor = gcd(*weights) or 1
        weights = [weight // divisor for weight in weights]
        self.chance = Chance(among, terms)
        self.count, self.length = among.count, sum(weights)
        self.most_steps = 2 * self.count + SPARE_STEPS
        self.ends = <uint64_t*>calloc(max(self.count, 1), sizeof(uint64_t))
        if self.ends == NULL:
            raise MemoryError
        for i, end in enumerate(accumulate(weights)):
            self.ends[i] = end
        if self.length <= MOST_SEQUENCE and self.length * self.count <= <uint64_t>MOST_WORK:
            self.write_sequence(weights)

    cdef write_sequence(self, list weights):
        """Smooth weighted round robin (nginx): each gains its weight, the richest is taken and pays the sum."""
        cdef int64_t* current = <int64_t*>calloc(2 * max(self.count, 1), sizeof(int64_t))
        cdef int64_t* weight = current + self.count
        cdef uint64_t place
        cdef int i, best
        self.sequence = <int32_t*>calloc(max(self.length, <uint64_t>1), sizeof(int32_t))
        try:
            if current == NULL or self.sequence == NULL:
                raise MemoryError
            for i in range(self.count):
                weight[i] = weights[i]
            for place in range(self.length):
                best = 0
                for i in range(self.count):
                    current[i] += weight[i]
                    if current[i] > current[best]:
                        best = i
                current[best] -= <int64_t>self.length
                self.sequence[place] = best
        finally:
            free(current)

    def __dealloc__(self):
        free(self.sequence)
        free(self.ends)

    # hot
    cdef int pick(self, Endpoints among, uint64_t excluded) noexcept:
        """The next in the sequence that can take a request.  The position moves behind it in one step, past those that
        cannot: their turns are everybody's, and do not all fall to one neighbour.

        Cost: one step, and one for each that cannot, up to twice the endpoints and 64; then a walk over all."""
        cdef int64_t seen = word_load(among.turn)
        cdef int64_t position = seen
        cdef int i, index
        for i in range(self.most_steps if self.count else 0):
            index = self.endpoint_at(position)
            position += 1
            if not among.can_take(index, excluded) or (among.slow_ns and is_skipped(among, index)):
                continue
            if word_swap(among.turn, &seen, position):
                return index
            position = seen
        return self.chance.pick(among, excluded)

    # hot
    cdef int endpoint_at(self, int64_t position) noexcept:
        """A round that is too long to be written down is spread by the golden ratio instead (Weyl's sequence): after
        any number of steps no endpoint is more than a few requests off its share.  Cost: log2 of the endpoints."""
        cdef uint64_t at
        cdef int low = 0, high = self.count - 1, middle
        if self.sequence != NULL:
            return self.sequence[<uint64_t>position % self.length]
        at = ((<uint64_t>position * GOLDEN) >> 32) * self.length >> 32
        while low < high:
            middle = (low + high) // 2
            if at < self.ends[middle]:
                high = middle
            else:
                low = middle + 1
        return low


cdef bint is_skipped(Endpoints among, int index) noexcept:
    """In slow start an endpoint lets turns go by, as many as it lacks of its weight."""
    return among.next_random() >= among.warmth(index) * <double>(<uint64_t>1 << 53)


cdef class First(Policy):
    # hot
    cdef int pick(self, Endpoints among, uint64_t excluded) noexcept:
        """The first in the configuration's order that has room (HAProxy's `first`), so that the last ones can rest.
        Cost: a look at each one before it."""
        cdef int i
        for i in range(among.count):
            if among.can_take(i, excluded):
                return i
        return FULL
