"""Token buckets over all processes: one word each is in force, taken from by compare-and-swap."""

import math
from fractions import Fraction

from shardproxy.shm.mapping cimport address
from shardproxy.shm.words cimport Words

TICKS_PER_S = 16_000_000_000


cdef class Buckets:
    def __init__(self, segment):
        section = segment.sections.buckets
        self.part = segment.part(section)
        self.base = address(self.part)
        self.slots = segment.capacities.buckets

    def __repr__(self):
        return f"<Buckets slots={self.slots}>"

    cdef BucketLine* line(self, int slot) except NULL:
        if not 0 <= slot < self.slots:
            raise IndexError(f"there is no bucket {slot}; the segment has {self.slots}")
        return <BucketLine*>(self.base + <Py_ssize_t>slot * 64)


cdef class Bucket:
    def __init__(self, Buckets buckets not None, int slot, double rate_per_s, burst):
        cdef int64_t interval = interval_of(rate_per_s)
        if burst < 1:
            raise ValueError(f"the burst of a bucket must be at least 1, not {burst}")
        self.buckets = buckets
        self.slot = slot
        self.line = buckets.line(slot)
        self.tolerance = interval * min(burst, MAX_TICKS // interval)
        self.rate.most = min(burst, MAX_TICKS)
        if sp_bucket_epoch(self.line) == 0:
            sp_bucket_begin(self.line, interval)
        bucket_measure(self.line, sp_bucket_epoch(self.line), &self.rate)

    def __repr__(self):
        return f"<Bucket {self.slot} rate={self.rate_per_s:g}/s burst={self.rate.burst}>"

    @property
    def rate_per_s(self):
        bucket_word(self.line, &self.rate)
        return TICKS_PER_S / self.rate.interval

    @property
    def burst(self):
        bucket_word(self.line, &self.rate)
        return self.rate.burst

    def follow(self, Words words not None, int slot):
        bucket_follow(self.line, words.word(slot), self.tolerance, &self.rate)

    def set_rate(self, double rate_per_s, int64_t now_ns, *, int64_t patience_ns=0, bint keeps_time=False):
        cdef int64_t interval = interval_of(rate_per_s)
        cdef uint64_t* word = bucket_word(self.line, &self.rate)
        cdef uint64_t now = <uint64_t>now_ns << SP_TICK_BITS
        cdef int64_t former = sp_bucket_interval(self.line, self.rate.epoch)
        cdef int64_t most = MAX_TICKS if keeps_time else self.rate.tolerance + (patience_ns << SP_TICK_BITS)
        cdef int64_t seen = ahead_of(word, now), late
        if interval == former and seen <= most:
            return
        if keeps_time:
            former = interval
        sp_bucket_change(self.line, now + <uint64_t>converted(min(seen, most), former, interval), interval)
        late = ahead_of(word, now) - seen  # taken by who had not seen the change yet
        if late > 0:
            sp_bucket_raise(bucket_word(self.line, &self.rate), <uint64_t>converted(late, former, interval))

    def take(self, int64_t now_ns, int64_t cost=1):
        return bucket_take(self.line, now_ns, cost, &self.rate)

    def give_back(self, int64_t cost=1):
        bucket_give_back(self.line, cost, &self.rate)

    def tokens(self, int64_t now_ns):
        cdef int64_t ahead = ahead_of(bucket_word(self.line, &self.rate), <uint64_t>now_ns << SP_TICK_BITS)
        cdef int64_t there = self.rate.tolerance - min(ahead, self.rate.tolerance)
        return <double>there / <double>self.rate.interval


cdef int64_t interval_of(double rate_per_s) except -1:
    """Ticks in which a token comes, rounded up."""
    if not 0 < rate_per_s < math.inf:
        raise ValueError(f"the rate of a bucket must be a number above 0, not {rate_per_s}")
    return min(math.ceil(TICKS_PER_S / Fraction(rate_per_s)), MAX_TICKS)


cdef int64_t converted(int64_t ticks, int64_t former, int64_t interval):
    """The time in which as many tokens come at another interval, rounded up: what is missing never gets less."""
    return min(-(-int(ticks) * interval // former), MAX_TICKS)


cdef int64_t ahead_of(const uint64_t* word, uint64_t now):
    """Ticks until the bucket is full."""
    return max(<int64_t>(sp_bucket_read(word) - now), 0)
