"""Consistent hashing: requests of one key go to one endpoint, and few keys move when endpoints come or go.

Only names and weights go into the hashes, and SipHash with a key that everybody knows: all workers, before and after a
restart, and all machines with the same configuration agree.  The order of the endpoints does not matter.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdlib cimport calloc, free, qsort
from libc.string cimport memset

from shardproxy.shm.gauges cimport gauge_total
from shardproxy.shm.siphash cimport sp_siphash13
from .endpoints cimport FULL

cdef enum:
    MAGLEV_SIZE = 65537         # a prime (Envoy's default; Eisenbud et al. 2016, "Maglev", §5.3)
    POINTS = 512                # on the ring, for each unit of weight: shares are within some 5 % of the weights
    MOST_POINTS = 1 << 17       # 2 MiB; above it each unit of weight gets fewer, half as many at a time
    SPARE_ATTEMPTS = 16
    MOST_ATTEMPTS = 256

KNOWN_KEY[0], KNOWN_KEY[1] = 0x7368617264707278, 0x62616c616e63696e
cdef uint64_t GOLDEN = 0x9E3779B97F4A7C15


cdef uint64_t hash_of(bytes text) noexcept:
    return sp_siphash13(KNOWN_KEY, <const unsigned char*>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


cdef class Hashed(Policy):
    def __init__(self, Endpoints among not None, terms):
        weights = [among.endpoints[i].weight for i in range(among.count)]
        self.fewest = LeastConnection(among, terms)
        self.factor = terms.hash_balance_factor
        self.weights = sum(weights)
        self.build(list(terms.names), weights)

    # hot
    cdef int pick(self, Endpoints among, uint64_t excluded) noexcept:
        """The endpoint of the key; where that cannot take the request, or has more than its bound, the next one that
        the key leads to, which is not the same for all keys of an endpoint.  Without a key, any.

        With a bound: consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam 2018).  Cost: a
        look-up, and one for each that cannot; at most 256, then the least loaded of all is taken."""
        cdef uint64_t key = among.key if among.has_key else among.next_random() * GOLDEN
        cdef int64_t weights = self.weights_in_use(among) if self.factor else 0
        cdef int attempt, index
        for attempt in range(min(2 * among.count + SPARE_ATTEMPTS, MOST_ATTEMPTS) if among.count else 0):
            index = self.at(key, attempt)
            if not among.can_take(index, excluded):
                continue
            if self.factor == 0 or self.is_within_bound(among, index, weights):
                return index
        return self.fewest.scan(among, excluded)

    # hot
    cdef bint is_within_bound(self, Endpoints among, int index, int64_t weights) noexcept:
        """Whether one more request is at most ceil(factor x all requests x its part of the weights); the request that
        is to be placed is among them already."""
        cdef int64_t active = gauge_total(among.cells, among.endpoints[index].active)
        cdef int64_t everywhere = gauge_total(among.cells, among.requests)
        return active * 100 * weights < self.factor * everywhere * among.endpoints[index].weight

    # hot
    cdef int64_t weights_in_use(self, Endpoints among) noexcept:
        """Of those that are not out, whose share the others have to bear.  Cost: a look at each one's decision."""
        cdef int64_t total = 0
        cdef int i
        if among.heeded == NULL:
            return self.weights
        for i in range(among.count):
            if among.is_eligible(i, 0):
                total += among.endpoints[i].weight
        return total

    cdef int at(self, uint64_t key, int attempt) noexcept:
        return FULL


cdef class Ring(Hashed):
    """Ketama's ring: points of all endpoints, in proportion to their weights; a key belongs to the next point."""

    def build(self, list names, list weights):
        cdef int i, number, at = 0
        cdef uint64_t[2] place
        each = POINTS
        while each > 1 and each * sum(weights) > MOST_POINTS:
            each //= 2
        self.size = each * sum(weights)
        self.points = <Point*>calloc(max(self.size, 1), sizeof(Point))
        if self.points == NULL:
            raise MemoryError
        for i, (name, weight) in enumerate(zip(names, weights)):
            place[0] = hash_of(name)
            for number in range(each * weight):
                place[1] = number
                self.points[at].hash = sp_siphash13(KNOWN_KEY, <const unsigned char*>place, sizeof(place))
                self.points[at].endpoint = i
                at += 1
        qsort(self.points, self.size, sizeof(Point), by_hash)

    def __dealloc__(self):
        free(self.points)

    # hot
    cdef int at(self, uint64_t key, int attempt) noexcept:
        """Cost: log2 of the points.  The next attempt is the next point, as if those before had been removed."""
        cdef int low = 0, high = self.size, middle
        while low < high:
            middle = (low + high) // 2
            if self.points[middle].hash < key:
                low = middle + 1
            else:
                high = middle
        return self.points[(low + attempt) % self.size].endpoint


cdef int by_hash(const void* one, const void* other) noexcept nogil:
    cdef uint64_t first = (<const Point*>one).hash, second = (<const Point*>other).hash
    return (first > second) - (first < second)


cdef class Maglev(Hashed):
    """Maglev's table: shares as exact as the table is long, one look per key; a few more keys move than on a ring."""

    def build(self, list names, list weights):
        cdef int i, count = len(names)
        self.table = <int32_t*>calloc(MAGLEV_SIZE, sizeof(int32_t))
        cdef uint64_t* places = <uint64_t*>calloc(4 * max(count, 1), sizeof(uint64_t))
        cdef uint64_t* skips = places + count
        cdef uint64_t* wanted = skips + count
        cdef uint64_t* weight = wanted + count
        try:
            if self.table == NULL or places == NULL:
                raise MemoryError
            memset(self.table, 0xff, MAGLEV_SIZE * sizeof(int32_t))
            order = sorted(range(count), key=names.__getitem__)
            for i in range(count):
                places[i] = hash_of(names[order[i]] + b"#place") % MAGLEV_SIZE
                skips[i] = hash_of(names[order[i]] + b"#skip") % (MAGLEV_SIZE - 1) + 1
                weight[i] = weights[order[i]]
            self.fill(places, skips, wanted, weight, count, max(weights, default=1))
            for i in range(MAGLEV_SIZE if count else 0):
                self.table[i] = order[self.table[i]]
        finally:
            free(places)

    cdef void fill(self, uint64_t* places, const uint64_t* skips, uint64_t* wanted, const uint64_t* weight, int count,
                   uint64_t heaviest) noexcept:
        """Each takes the next place of its own permutation in turn; lighter ones let turns go by (Envoy's way)."""
        cdef int filled = 0, i
        cdef uint64_t turn = 1
        while filled < MAGLEV_SIZE and count > 0:
            for i in range(count):
                if turn * weight[i] < wanted[i] or filled == MAGLEV_SIZE:
                    continue
                wanted[i] += heaviest
                while self.table[places[i]] >= 0:
                    places[i] = (places[i] + skips[i]) % MAGLEV_SIZE
                self.table[places[i]] = i
                filled += 1
            turn += 1

    def __dealloc__(self):
        free(self.table)

    # hot
    cdef int at(self, uint64_t key, int attempt) noexcept:
        """Cost: one look.  The next attempt is another place by chance, the same for everybody."""
        return self.table[mixed(key + <uint64_t>attempt * GOLDEN) % MAGLEV_SIZE]


cdef inline uint64_t mixed(uint64_t x) noexcept nogil:
    """The finisher of SplitMix64 (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * <uint64_t>0x94D049BB133111EB
    return x ^ (x >> 31)
