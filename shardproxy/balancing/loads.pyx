"""The endpoint with the fewest requests for its weight, over all workers."""

from libc.stdint cimport int64_t

from shardproxy.shm.gauges cimport gauge_total
from .endpoints cimport FULL, NO_CAP, EndpointState

cdef enum:
    MOST_SCANNED = 32       # endpoints; above that, two by chance
    MOST_SAME = 4           # draws for a second one that is not the first


cdef class LeastConnection(Policy):
    def __init__(self, Endpoints among not None, terms):
        self.chance = Chance(among, terms)

    # hot
    cdef int pick(self, Endpoints among, uint64_t excluded) noexcept:
        """Cost: one look at the shared count of each of up to 32 endpoints (some 400 ns for 32); of two, if there are
        more (some 120 ns)."""
        cdef int index = FULL
        if among.count > MOST_SCANNED:
            index = self.better_of_two(among, excluded)
        return index if index != FULL else self.scan(among, excluded)

    # hot
    cdef int scan(self, Endpoints among, uint64_t excluded) noexcept:
        """Smallest (active + 1) / weight; among equals each is as likely (reservoir sampling), so that workers that
        look at the same moment do not all run to the same endpoint.  Envoy's FULL_SCAN with active_request_bias 1."""
        cdef int i, best = FULL, ties = 0
        cdef int64_t active, load, weight, best_load = 0, best_weight = 1
        cdef EndpointState* endpoint
        for i in range(among.count):
            endpoint = &among.endpoints[i]
            if not among.is_eligible(i, excluded):
                continue
            active = gauge_total(among.cells, endpoint.active)
            if endpoint.cap != NO_CAP and active >= endpoint.cap:
                continue
            weight = among.weight_of(i)
            load = (active + 1) * best_weight - best_load * weight  # below 0: less loaded than the best
            if best == FULL or load < 0:
                best, ties = i, 1
                best_load, best_weight = active + 1, weight
            elif load == 0:
                ties += 1
                if among.next_random() % <uint64_t>ties == 0:
                    best = i
        return best

    # hot
    cdef int better_of_two(self, Endpoints among, uint64_t excluded) noexcept:
        """Two by chance, in proportion to their weights, and the less loaded of them (Mitzenmacher 2001, "The power of
        two choices in randomized load balancing"; Envoy's `choice_count` 2).  FULL when few could take a request."""
        cdef int i, other, one = self.chance.draw_able(among, excluded)
        for i in range(MOST_SAME if one != FULL else 0):
            other = self.chance.draw_able(among, excluded)
            if other != one:
                return other if other != FULL and self.is_less(among, other, one) else one
        return one

    # hot
    cdef bint is_less(self, Endpoints among, int one, int other) noexcept:
        return ((gauge_total(among.cells, among.endpoints[one].active) + 1) * among.weight_of(other)
                < (gauge_total(among.cells, among.endpoints[other].active) + 1) * among.weight_of(one))
