"""Rate limits of a route over token buckets that all workers share."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport INT64_MAX
from libc.stdlib cimport calloc, free

from shardproxy.http1.forwarding cimport read_ip
from shardproxy.http1.grammar cimport ZERO
from shardproxy.http1.values cimport Value, field_value
from shardproxy.limits.leases cimport LEASE_EMPTY, LEASE_LOCAL, LEASE_TAKEN, LeaseAnswer
from shardproxy.shm.buckets cimport SP_TICK_BITS, bucket_charge, bucket_follow, bucket_give_back, bucket_reserve
from shardproxy.shm.keyed cimport KEY_EVICTED, KeyOutcome, key_charge, key_give_back, key_reserve
from shardproxy.shm.metrics cimport count
from shardproxy.shm.words cimport word_add

cdef enum:
    NOT_MEANT = 0           # a request that has no key is not limited
    NS_PER_S = 1_000_000_000


cdef class RateLimit:
    def __init__(self, Bucket bucket, int admitted, int refused, *, str name="", KeyedBuckets keyed=None, Key key=None,
                 overrides=(), int64_t patience_ns=0, int64_t cost=1, bytes cost_field=None, int64_t bytes_per_token=0,
                 bint is_dry=False, bint tells_all=False, int delayed=-1, int evicted=-1,
                 Lease lease=None, Words words=None, int interval=-1):
        if (bucket is None) == (keyed is None) or (keyed is None) != (key is None):
            raise ValueError("a limit has one bucket, or buckets by key")
        if lease is not None and key is not None:
            raise ValueError("a limit with a key has no lease")
        self.name = name
        self.bucket, self.keyed, self.key, self.lease = bucket, keyed, key, lease
        self.patience = patience_ns << SP_TICK_BITS
        self.cost, self.cost_field, self.bytes_per_token = cost, cost_field, bytes_per_token
        self.is_dry, self.tells_all = is_dry, tells_all
        self.admitted, self.refused, self.delayed, self.evicted = admitted, refused, delayed, evicted
        if words is not None:
            self.words, self.interval, self.tolerance = words, words.word(interval), bucket.tolerance
        self.keep_overrides(sorted(overrides, key=hash_first))

    def keep_overrides(self, overrides):
        self.override_keys = <uint64_t*>calloc(max(len(overrides), 1), sizeof(uint64_t))
        if self.override_keys == NULL:
            raise MemoryError
        self.overrides = tuple([bucket for _, bucket in overrides])
        for hashed, bucket in overrides:
            if not isinstance(bucket, Bucket):
                raise TypeError("overrides are pairs of a key's hash and a Bucket")
            self.override_keys[self.override_count] = hashed
            self.override_count += 1

    def __dealloc__(self):
        free(self.override_keys)

    # hot
    cdef int64_t reserve(self, Head head, const Ip* client, int64_t now_ns, MetricCells* cells, Charge* charge) noexcept:
        """From 0 up: admitted, after so many ns; below 0: refused, with as many ns to the next try."""
        charge.line, charge.is_keyed, charge.lease = NULL, False, NULL
        charge.cost = self.cost if self.cost_field is None else self.cost_of(head)
        if self.key is not None:
            return self.reserve_keyed(head, client, now_ns, cells, charge)
        if self.lease is not None:
            return self.reserve_leased(now_ns, cells, charge)
        if self.interval != NULL:
            bucket_follow(self.bucket.line, self.interval, self.tolerance, &self.bucket.rate)
        charge.line, charge.rate = self.bucket.line, &self.bucket.rate
        return bucket_reserve(charge.line, now_ns, charge.cost, charge.rate, self.patience)

    # hot
    cdef int64_t reserve_keyed(self, Head head, const Ip* client, int64_t now_ns, MetricCells* cells,
                               Charge* charge) noexcept:
        cdef KeyOutcome outcome
        cdef int64_t wait
        cdef int found
        if not self.key.read(head, client, self.keyed.table.secret, &charge.hashed):
            return NOT_MEANT
        if self.override_count:
            found = self.override_of(charge.hashed)
            if found >= 0:
                bucket = <Bucket>PyTuple_GET_ITEM(self.overrides, found)  # warm: only keys with a rate of their own
                charge.line, charge.rate = bucket.line, &bucket.rate
                return bucket_reserve(charge.line, now_ns, charge.cost, charge.rate, self.patience)
        charge.is_keyed = True
        wait = key_reserve(&self.keyed.table, charge.hashed, now_ns, charge.cost, &outcome)
        if outcome == KEY_EVICTED:
            count(cells, self.evicted, 1)
        return wait

    # hot
    cdef int64_t reserve_leased(self, int64_t now_ns, MetricCells* cells, Charge* charge) noexcept:
        cdef LeaseAnswer answer = self.lease.take(now_ns, charge.cost, cells)
        if answer == LEASE_LOCAL:
            charge.line, charge.rate = self.bucket.line, &self.bucket.rate
            return bucket_reserve(charge.line, now_ns, charge.cost, charge.rate, 0)
        if answer == LEASE_TAKEN:
            charge.lease = self.lease.left
        return -self.lease.retry_ns if answer == LEASE_EMPTY else 0

    cdef int64_t cost_of(self, Head head) noexcept:
        """What the field says, from 1 to `cost`; 1 if it says nothing that is a number."""
        cdef Value told = field_value(head, PyBytes_AS_STRING(self.cost_field),
                                      PyBytes_GET_SIZE(self.cost_field))
        cdef int64_t cost = 0
        cdef Py_ssize_t i
        if told.p == NULL or not 0 < told.n <= 9:
            return 1
        for i in range(told.n):
            if not b'0' <= told.p[i] <= b'9':
                return 1
            cost = 10 * cost + told.p[i] - ZERO
        return max(1, min(cost, self.cost))

    # hot
    cdef int override_of(self, uint64_t hashed) noexcept:
        """Which override is this key's, or -1; by halving."""
        cdef int low = 0, high = self.override_count, middle
        while low < high:
            middle = (low + high) // 2
            if self.override_keys[middle] < hashed:
                low = middle + 1
            else:
                high = middle
        return low if low < self.override_count and self.override_keys[low] == hashed else -1

    cdef void give_back(self, const Charge* charge, int64_t now_ns) noexcept:
        if charge.line != NULL:
            bucket_give_back(charge.line, charge.cost, charge.rate)
        elif charge.lease != NULL:
            word_add(charge.lease, charge.cost)
        elif charge.is_keyed:
            key_give_back(&self.keyed.table, charge.hashed, now_ns, charge.cost)

    cdef void charge_bytes(self, Head head, const Ip* client, int64_t now_ns, int64_t size) noexcept:
        """What the response has cost beyond the one token that its request took."""
        cdef int64_t cost = size // self.bytes_per_token
        cdef uint64_t hashed
        cdef int found
        if cost <= 0:
            return
        if self.lease is not None and self.lease.charge(now_ns, cost) != LEASE_LOCAL:
            return
        if self.key is None:
            bucket_charge(self.bucket.line, now_ns, cost, &self.bucket.rate)
        elif self.key.read(head, client, self.keyed.table.secret, &hashed):
            found = self.override_of(hashed)
            if found >= 0:
                bucket = <Bucket>PyTuple_GET_ITEM(self.overrides, found)
                bucket_charge(bucket.line, now_ns, cost, &bucket.rate)
            else:
                key_charge(&self.keyed.table, hashed, now_ns, cost)

    cdef bytes field_lines(self, int64_t retry_ns):
        """What a refused client is told (draft-ietf-httpapi-ratelimit-headers): the policy is a quota `q` for each
        window of `w` seconds, `r` of it are left, and `t` is when there will be more."""
        burst = self.bucket.rate.burst if self.bucket is not None else self.keyed.table.burst
        interval_s = (self.bucket.rate.interval / (16 * 1e9) if self.bucket is not None
                      else self.keyed.table.ns_per_tick * 1024 / 1e9)
        window = max(1, round(burst * interval_s))
        reset = min(retry_ns, INT64_MAX - NS_PER_S) // NS_PER_S + 1
        lines = b'RateLimit-Policy: "%b";q=%d;w=%d\r\nRateLimit: "%b";r=0;t=%d\r\n' % (
            self.name.encode(), burst, window, self.name.encode(), reset)
        if self.tells_all:
            lines += b"X-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: %d\r\n" % (burst, reset)
        return lines


def hash_first(pair):
    return pair[0]


cdef class RateLimits:
    def __init__(self, limits, Metrics metrics not None):
        self.limits = tuple(limits)
        self.metrics = metrics
        self.cells = &metrics.cells
        if len(self.limits) > MOST_LIMITS:
            raise ValueError(f"a route has at most {MOST_LIMITS} limits, not {len(self.limits)}")
        for limit in self.limits:
            if not isinstance(limit, RateLimit):
                raise TypeError("a route's limits must be RateLimit objects")
            self.counts_bytes = self.counts_bytes or (<RateLimit>limit).bytes_per_token > 0
            if (<RateLimit>limit).key is not None and (<RateLimit>limit).key.needs_client:
                self.needs_client = True

    # hot
    cdef void admit(self, Head head, const Ip* client, int64_t now_ns, Verdict* verdict) noexcept:
        """Ask every limit.  Cost: for each its key and one compare-and-swap."""
        cdef Charge[MOST_LIMITS] charges
        cdef Py_ssize_t i
        cdef int64_t wait
        cdef RateLimit limit
        verdict.wait_ns, verdict.refused_by = 0, -1
        for i in range(PyTuple_GET_SIZE(self.limits)):
            limit = <RateLimit>PyTuple_GET_ITEM(self.limits, i)
            wait = limit.reserve(head, client, now_ns, self.cells, &charges[i])
            if wait < 0:
                count(self.cells, limit.refused, 1)
                if limit.is_dry:
                    charges[i].line, charges[i].is_keyed = NULL, False
                    continue
                verdict.wait_ns, verdict.refused_by = -wait, <int>i
                while i > 0:
                    i -= 1
                    (<RateLimit>PyTuple_GET_ITEM(self.limits, i)).give_back(&charges[i], now_ns)
                return
            if wait > 0:
                count(self.cells, limit.delayed, 1)
                if wait > verdict.wait_ns and not limit.is_dry:
                    verdict.wait_ns = wait
        for i in range(PyTuple_GET_SIZE(self.limits)):
            count(self.cells, (<RateLimit>PyTuple_GET_ITEM(self.limits, i)).admitted, 1)

    cdef void charge_bytes(self, Head head, const Ip* client, int64_t now_ns, int64_t size) noexcept:
        cdef Py_ssize_t i
        cdef RateLimit limit
        for i in range(PyTuple_GET_SIZE(self.limits)):
            limit = <RateLimit>PyTuple_GET_ITEM(self.limits, i)
            if limit.bytes_per_token:
                limit.charge_bytes(head, client, now_ns, size)

    cdef bytes field_lines(self, const Verdict* verdict):
        return (<RateLimit>self.limits[verdict.refused_by]).field_lines(verdict.wait_ns)

    def take(self, int64_t now_ns, Head head=None, bytes client=b""):
        cdef Verdict verdict
        cdef Ip ip
        read_ip(client, len(client), &ip)
        self.admit(head, &ip, now_ns, &verdict)
        return verdict.wait_ns

    def ask(self, int64_t now_ns, Head head=None, bytes client=b""):
        cdef Verdict verdict
        cdef Ip ip
        read_ip(client, len(client), &ip)
        self.admit(head, &ip, now_ns, &verdict)
        return verdict.refused_by, verdict.wait_ns

    def charge(self, int64_t now_ns, int64_t size, Head head=None, bytes client=b""):
        cdef Ip ip
        read_ip(client, len(client), &ip)
        self.charge_bytes(head, &ip, now_ns, size)
