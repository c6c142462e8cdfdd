# The rate limits of a route: all must admit, and none is charged when another refuses.
from libc.stdint cimport int64_t, uint64_t

from shardproxy.http1.forwarding cimport Ip
from shardproxy.http1.grammar cimport text
from shardproxy.http1.head cimport Head
from shardproxy.limits.keys cimport Key
from shardproxy.limits.leases cimport Lease
from shardproxy.shm.buckets cimport Bucket, BucketLine, BucketRate
from shardproxy.shm.keyed cimport KeyedBuckets
from shardproxy.shm.metrics cimport MetricCells, Metrics
from shardproxy.shm.words cimport Words

cdef enum:
    MOST_LIMITS = 16        # of one route

cdef struct Verdict:
    int64_t wait_ns         # admitted: how long to wait first; refused: when to ask again
    int refused_by          # the number of the limit in the route's order; -1 = admitted

# What one limit has taken for a request.
cdef struct Charge:
    BucketLine* line        # NULL: nothing, or by key
    BucketRate* rate
    uint64_t hashed         # of the key, if is_keyed
    bint is_keyed
    int64_t* lease          # NULL: nothing of it
    int64_t cost

cdef class RateLimit:
    cdef readonly str name
    cdef readonly Bucket bucket     # one for all requests; None with a key
    cdef KeyedBuckets keyed
    cdef Lease lease                # None: the limit is this machine's own
    cdef Key key
    cdef tuple overrides            # of Bucket, in the order of override_keys
    cdef uint64_t* override_keys    # ascending
    cdef int override_count
    cdef Words words                # keeps what `interval` points to
    cdef const int64_t* interval    # NULL: the rate stays; else what to go by (bucket_follow)
    cdef int64_t tolerance          # ticks of a burst, at every rate
    cdef int64_t patience           # ticks; as bucket_reserve
    cdef int64_t cost
    cdef int64_t bytes_per_token    # of the response's body, charged afterwards; 0 = not
    cdef bytes cost_field           # that tells the cost, up to `cost`; or None
    cdef readonly bint is_dry       # counts what it would refuse, and refuses nothing
    cdef readonly bint tells_all    # X-RateLimit-* too
    cdef int admitted, refused, delayed, evicted    # counters

    cdef int64_t reserve(self, Head head, const Ip* client, int64_t now_ns, MetricCells* cells, Charge* charge) noexcept
    cdef int64_t reserve_keyed(self, Head head, const Ip* client, int64_t now_ns, MetricCells* cells, Charge* charge) noexcept
    cdef int64_t reserve_leased(self, int64_t now_ns, MetricCells* cells, Charge* charge) noexcept
    cdef int64_t cost_of(self, Head head) noexcept
    cdef int override_of(self, uint64_t hashed) noexcept
    cdef void give_back(self, const Charge* charge, int64_t now_ns) noexcept
    cdef void charge_bytes(self, Head head, const Ip* client, int64_t now_ns, int64_t size) noexcept
    cdef bytes field_lines(self, int64_t retry_ns)

cdef class RateLimits:
    cdef readonly tuple limits      # of RateLimit
    cdef readonly bint needs_client
    cdef readonly bint counts_bytes
    cdef Metrics metrics            # keeps what `cells` points to
    cdef MetricCells* cells

    cdef void admit(self, Head head, const Ip* client, int64_t now_ns, Verdict* verdict) noexcept
    cdef void charge_bytes(self, Head head, const Ip* client, int64_t now_ns, int64_t size) noexcept
    cdef bytes field_lines(self, const Verdict* verdict)
