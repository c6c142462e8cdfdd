"""Bandwidth: how long bytes have to wait.  Who holds them back meanwhile is proxy/pacing.pyx.

The generic cell rate algorithm as for requests (shm/buckets.pxd), with a byte as its cell.  Of a connection the bucket is
one word in the worker; of a key, or of all, a word in the shared table, whose ticks are bytes.
"""

from shardproxy.shm.keyed cimport KEY_EVICTED, KeyOutcome, key_give_back_ticks, key_reserve_ticks
from shardproxy.shm.metrics cimport Metrics, count

LONGEST_WAIT_NS = PATIENCE_NS

cdef enum:
    NS_PER_S = 1_000_000_000
    EVERYBODY = 0               # the only key of a table that is one bucket


cdef class Bandwidth:
    def __init__(self, str name not None, int64_t rate, int64_t burst, *, KeyedBuckets keyed=None, Key key=None,
                 bint is_dry=False, int passed=-1, int held=-1, int waited=-1, int waiting=-1, int evicted=-1):
        if rate <= 0 or burst <= 0:
            raise ValueError("a bandwidth limit needs a rate and a burst above 0")
        if key is not None and keyed is None:
            raise ValueError("a key needs a table")
        self.name, self.keyed, self.key, self.is_dry = name, keyed, key, is_dry
        self.ns_per_byte = NS_PER_S / <double>rate
        self.burst_ns = <int64_t>(burst * self.ns_per_byte)
        self.piece = max(LEAST_PIECE, rate * STEP_NS // NS_PER_S)
        self.passed, self.held, self.waited, self.waiting, self.evicted = passed, held, waited, waiting, evicted

    cdef bint find(self, Head head, const Ip* client, Account* account) noexcept:
        account.full_at = NULL
        account.hashed = EVERYBODY
        return self.key is None or self.key.read(head, client, self.keyed.table.secret, &account.hashed)

    # hot
    cdef int64_t reserve(self, const Account* account, int64_t now_ns, int64_t size, MetricCells* cells) noexcept:
        """Take `size` bytes: from 0 up, they may go after so many ns; below 0: too many have been taken already, and
        asking again makes sense after so many.  `size` is at most the burst.  Cost: a compare-and-swap in the table, or a few additions."""
        cdef KeyOutcome outcome
        cdef int64_t wait
        if self.keyed is None:
            return self.reserve_own(account, now_ns, size)
        wait = key_reserve_ticks(&self.keyed.table, account.hashed, now_ns, min(size, self.keyed.table.empty), &outcome)
        if outcome == KEY_EVICTED:
            count(cells, self.evicted, 1)
        return wait

    # hot
    cdef int64_t reserve_own(self, const Account* account, int64_t now_ns, int64_t size) noexcept:
        cdef int64_t ahead = account.full_at[0] - now_ns
        cdef int64_t due = (ahead if ahead > 0 else 0) + <int64_t>(<double>size * self.ns_per_byte)
        cdef int64_t excess = due - self.burst_ns
        if excess > PATIENCE_NS:
            return PATIENCE_NS - excess
        account.full_at[0] = now_ns + due
        return excess if excess > 0 else 0

    cdef void give_back(self, const Account* account, int64_t now_ns, int64_t size) noexcept:
        """They were taken, and do not go after all."""
        if self.keyed is None:
            account.full_at[0] -= <int64_t>(<double>size * self.ns_per_byte)
        else:
            key_give_back_ticks(&self.keyed.table, account.hashed, now_ns, min(size, self.keyed.table.empty))

    def waits(self, int64_t now_ns, sizes, Metrics metrics not None, bytes client=None, Allowance allowance=None):
        cdef Account account
        account.full_at = NULL if allowance is None else &allowance.full_at
        account.hashed = EVERYBODY
        if self.key is not None:
            account.hashed = self.key.hash_of(self.keyed.segment.secret, client)
        return [self.reserve(&account, now_ns, size, &metrics.cells) for size in sizes]
