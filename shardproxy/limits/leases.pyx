"""Leased tokens.  Workers never ask the store: they take what the controller has leased, or refuse."""

from shardproxy.shm.metrics cimport count
from shardproxy.shm.words cimport word_add, word_load, word_swap

ON_FAILURE = {"local": LEASE_LOCAL, "open": LEASE_OPEN, "closed": LEASE_EMPTY}


cdef class Lease:
    def __init__(self, Words words not None, int left, int until, int asked, str on_failure, int64_t retry_ns):
        self.words = words
        self.left, self.until = words.word(left), words.word(until)
        self.asked, self.on_failure, self.retry_ns = asked, ON_FAILURE[on_failure], retry_ns

    # hot
    cdef LeaseAnswer take(self, int64_t now_ns, int64_t cost, MetricCells* cells) noexcept nogil:
        """Cost: two words read, one compare-and-swap and one count of the own row."""
        cdef int64_t left
        count(cells, self.asked, cost)
        if now_ns >= word_load(self.until):
            return self.on_failure
        left = word_load(self.left)
        while left >= cost:
            if word_swap(self.left, &left, left - cost):
                return LEASE_TAKEN
        return LEASE_EMPTY

    cdef LeaseAnswer charge(self, int64_t now_ns, int64_t cost) noexcept nogil:
        """Take what is known only afterwards; what is not there is owed, and the controller pays it."""
        if now_ns >= word_load(self.until):
            return self.on_failure
        word_add(self.left, -cost)
        return LEASE_TAKEN
