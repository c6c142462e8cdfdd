"""By chance, in proportion to the weights: one draw costs the same for 3 endpoints and for 3 000."""

from libc.stdlib cimport calloc, free

from .endpoints cimport FULL

cdef enum:
    DRAWS = 8               # that may meet endpoints which cannot take a request, before all are looked at
    RANDOM_BITS = 53


cdef class Chance(Policy):
    def __init__(self, Endpoints among not None, terms):
        cdef int i
        self.count = among.count
        self.keep = <double*>calloc(max(self.count, 1), sizeof(double))
        self.other = <int*>calloc(max(self.count, 1), sizeof(int))
        if self.keep == NULL or self.other == NULL:
            raise MemoryError
        self.build([among.endpoints[i].weight for i in range(self.count)])

    cdef build(self, list weights):
        """The alias method (Walker 1977; Vose 1991): each place is shared by at most two endpoints."""
        average = sum(weights) / max(self.count, 1)
        share = [weight / average for weight in weights]
        small = [i for i in range(self.count) if share[i] < 1]
        large = [i for i in range(self.count) if share[i] >= 1]
        while small and large:
            less, more = small.pop(), large.pop()
            self.keep[less], self.other[less] = share[less], more
            share[more] -= 1 - share[less]
            (small if share[more] < 1 else large).append(more)
        for i in [*small, *large]:
            self.keep[i], self.other[i] = 1, i

    def __dealloc__(self):
        free(self.keep)
        free(self.other)

    # hot
    cdef int draw(self, Endpoints among) noexcept:
        cdef int place = <int>(among.next_random() % <uint64_t>self.count)
        if among.next_random() < self.keep[place] * <double>(<uint64_t>1 << RANDOM_BITS):
            return place
        return self.other[place]

    # hot
    cdef int draw_able(self, Endpoints among, uint64_t excluded) noexcept:
        cdef int i, index
        for i in range(DRAWS if self.count else 0):
            index = self.draw(among)
            if among.can_take(index, excluded):
                return index
        return FULL

    # hot
    cdef int pick(self, Endpoints among, uint64_t excluded) noexcept:
        """Cost: a draw; a walk over all endpoints when most cannot take a request."""
        cdef int index = self.draw_able(among, excluded)
        return index if index != FULL else self.walk(among, excluded)

    cdef int walk(self, Endpoints among, uint64_t excluded) noexcept:
        """Each that can take it in proportion to its weight, by reservoir sampling."""
        cdef int i, best = FULL
        cdef uint64_t total = 0
        for i in range(among.count):
            if among.can_take(i, excluded):
                total += among.endpoints[i].weight
                if among.next_random() % total < <uint64_t>among.endpoints[i].weight:
                    best = i
        return best
