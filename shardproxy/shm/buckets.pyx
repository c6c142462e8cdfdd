"""Token buckets over all processes: one word each, taken from by compare-and-swap."""

import math
from fractions import Fraction

from shardproxy.shm.mapping cimport address
from shardproxy.shm.words cimport Words

TICKS_PER_S = 16_000_000_000
_MAX_TICKS = 1 << 61  # 4.5 years: twice this still fits the signed difference that bucket_take works with


cdef class Buckets:
    def __init__(self, segment):
        section = segment.sections.buckets
        self.part = segment.part(section)
        self.base = address(self.part)
        self.slots = segment.capacities.buckets

    def __repr__(self):
        return f"<Buckets slots={self.slots}>"

    cdef uint64_t* word(self, int slot) except NULL:
        if not 0 <= slot < self.slots:
            raise IndexError(f"there is no bucket {slot}; the segment has {self.slots}")
        return <uint64_t*>(self.base + <Py_ssize_t>slot * 64)


cdef class Bucket:
    def __init__(self, Buckets buckets not None, int slot, double rate_per_s, burst):
        if not 0 < rate_per_s < math.inf:
            raise ValueError(f"the rate of a bucket must be a number above 0, not {rate_per_s}")
        if burst < 1:
            raise ValueError(f"the burst of a bucket must be at least 1, not {burst}")
        interval = min(math.ceil(TICKS_PER_S / Fraction(rate_per_s)), _MAX_TICKS)
        self.buckets = buckets
        self.slot = slot
        self.word = buckets.word(slot)
        self.rate.interval = interval
        self.rate.burst = min(burst, _MAX_TICKS // interval)
        self.rate.tolerance = self.rate.interval * self.rate.burst

    def __repr__(self):
        return f"<Bucket {self.slot} rate={self.rate_per_s:g}/s burst={self.rate.burst}>"

    @property
    def rate_per_s(self):
        return TICKS_PER_S / self.rate.interval

    @property
    def burst(self):
        return self.rate.burst

    def follow(self, Words words not None, int slot):
        bucket_follow(words.word(slot), self.rate.tolerance, &self.rate)

    def take(self, int64_t now_ns, int64_t cost=1):
        return bucket_take(self.word, now_ns, cost, &self.rate)

    def give_back(self, int64_t cost=1):
        bucket_give_back(self.word, cost, &self.rate)

    def tokens(self, int64_t now_ns):
        cdef int64_t ahead = <int64_t>(sp_bucket_read(self.word) - (<uint64_t>now_ns << SP_TICK_BITS))
        cdef int64_t there = self.rate.tolerance - min(max(ahead, 0), self.rate.tolerance)
        return <double>there / <double>self.rate.interval
