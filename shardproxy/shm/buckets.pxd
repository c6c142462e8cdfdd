# Token buckets over all processes. The state of a bucket is one 64-bit word: the generic cell rate algorithm's "theoretical arrival
# time" (GCRA, ITU-T I.371 annex A, virtual scheduling), the time at which the bucket will be full again.
#
# Time is in ticks of 1/16 ns: at 10 million tokens a second a token is 1600 ticks, so rounding errs by under 0.07 %,
# while 64 bits still hold 36 years of uptime. Any value is a valid state, so no crash can corrupt it: one in the past
# is a full bucket, and one further ahead than an empty bucket's can be (a reload may have made the burst smaller) is
# brought back.
#
# The word counts time, so it means as many missing tokens as the interval of one token fits into it. When the rate
# changes, the tokens stay and the time must change: 18 s are five tokens at 1000/h, but at 10/h a twentieth of one, and
# who kept the time would refill every bucket. So a bucket has two words with an interval each, and an epoch, whose last
# bit says which of them is in force:
#
#     word 0 | word 1 | interval 0 | interval 1 | epoch
#
# A change of the rate writes the same tokens, measured in the new interval, to the other word, and then stores the epoch:
# one store switches all processes. Who is killed before it leaves the former rate in force, and nothing to repair. A token
# that a process takes from the former word in that instant is charged to the new one as soon as it is seen there, so at
# most one request of each process goes by uncharged, and only if it was stopped between two of its instructions. One
# process sets rates: the supervisor.
from libc.stdint cimport INT64_MAX, int64_t, uint64_t

from .words cimport word_load

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t sp_bucket_read(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
    static inline int sp_bucket_swap(uint64_t *word, uint64_t *seen, uint64_t next) {
        return __atomic_compare_exchange_n(word, seen, next, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    /* Of a change: the other word and interval, and then the epoch, which puts them in force. */
    typedef struct { uint64_t words[2]; int64_t intervals[2]; uint64_t epoch; } sp_bucket_line;
    static inline uint64_t sp_bucket_epoch(const sp_bucket_line *line) {
        return __atomic_load_n(&line->epoch, __ATOMIC_ACQUIRE);
    }
    static inline int64_t sp_bucket_interval(const sp_bucket_line *line, uint64_t epoch) {
        return __atomic_load_n(&line->intervals[epoch & 1], __ATOMIC_RELAXED);
    }
    static inline int sp_bucket_begin(sp_bucket_line *line, int64_t interval) {
        int64_t none = 0;
        return __atomic_compare_exchange_n(&line->intervals[0], &none, interval, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    static inline void sp_bucket_change(sp_bucket_line *line, uint64_t word, int64_t interval) {
        uint64_t next = line->epoch + 1;
        __atomic_store_n(&line->words[next & 1], word, __ATOMIC_RELAXED);
        __atomic_store_n(&line->intervals[next & 1], interval, __ATOMIC_RELAXED);
        __atomic_store_n(&line->epoch, next, __ATOMIC_RELEASE);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
    static inline void sp_bucket_raise(uint64_t *word, uint64_t ticks) {
        __atomic_fetch_add(word, ticks, __ATOMIC_RELAXED);
    }
    static inline void sp_bucket_lower(uint64_t *word, uint64_t ticks) {
        __atomic_fetch_sub(word, ticks, __ATOMIC_RELAXED);
    }
    """
    ctypedef struct BucketLine "sp_bucket_line":
        uint64_t[2] words
    uint64_t sp_bucket_epoch(const BucketLine* line) noexcept nogil
    int64_t sp_bucket_interval(const BucketLine* line, uint64_t epoch) noexcept nogil
    bint sp_bucket_begin(BucketLine* line, int64_t interval) noexcept nogil
    void sp_bucket_change(BucketLine* line, uint64_t word, int64_t interval) noexcept nogil
    void sp_bucket_raise(uint64_t* word, uint64_t ticks) noexcept nogil
    uint64_t sp_bucket_read(const uint64_t* word) noexcept nogil
    bint sp_bucket_swap(uint64_t* word, uint64_t* seen, uint64_t next) noexcept nogil
    void sp_bucket_lower(uint64_t* word, uint64_t ticks) noexcept nogil

cdef extern from *:
    """
    #define SP_TICK_BITS 4 /* a ns is 2^4 ticks; shifts, because Cython guards a division with Python exceptions */
    /* How far behind a caller's clock may be before a word that lies ahead of it is taken for nonsense: 10 s. */
    #define SP_CLOCK_SLACK_TICKS (INT64_C(10000000000) << SP_TICK_BITS)
    """
    const int SP_TICK_BITS
    const int64_t SP_CLOCK_SLACK_TICKS

cdef extern from *:
    """
    #define SP_MAX_TICKS (INT64_C(1) << 61) /* 4.5 years: twice this still fits the signed difference of two times */
    """
    const int64_t MAX_TICKS "SP_MAX_TICKS"


ctypedef struct BucketRate:
    int64_t interval   # ticks a token
    int64_t tolerance  # ticks a whole burst: burst * interval
    int64_t burst      # tokens of a full bucket
    int64_t most       # that it was asked to hold
    uint64_t epoch     # of the bucket, whose interval this is


cdef inline void bucket_measure(const BucketLine* line, uint64_t epoch, BucketRate* rate) noexcept nogil:
    """Go by the interval of that epoch."""
    rate.epoch = epoch
    rate.interval = sp_bucket_interval(line, epoch)
    rate.burst = min(rate.most, MAX_TICKS // max(rate.interval, 1))
    rate.tolerance = rate.interval * rate.burst


cdef inline uint64_t* bucket_word(BucketLine* line, BucketRate* rate) noexcept nogil:
    """The one in force, and `rate` goes by its interval."""
    cdef uint64_t epoch = sp_bucket_epoch(line)
    if epoch != rate.epoch:
        bucket_measure(line, epoch, rate)
    return line.words + (epoch & 1)


cdef inline int64_t bucket_reserve(BucketLine* line, int64_t now_ns, int64_t cost, BucketRate* rate,
                                   int64_t patience) noexcept nogil:
    """Take `cost` tokens at `now_ns` (CLOCK_MONOTONIC), up to `patience` ticks before they are there.

    From 0 up: they are taken, and whoever took them has to wait so many ns. Below 0: nothing is taken, and asking
    again makes sense after so many ns; a cost above the burst can never be met: -INT64_MAX. Over any window of the
    clock the tokens taken by all processes together, and waited for, are at most rate * window + burst.
    """
    cdef uint64_t* word = bucket_word(line, rate)
    cdef uint64_t seen = sp_bucket_read(word)
    cdef uint64_t now = <uint64_t>now_ns << SP_TICK_BITS
    cdef int64_t ahead, excess
    if cost <= 0:
        return 0
    if cost > rate.burst:
        return -INT64_MAX
    while True:
        ahead = <int64_t>(seen - now)
        if ahead < 0:
            ahead = 0
        elif ahead - rate.tolerance - patience > SP_CLOCK_SLACK_TICKS:
            sp_bucket_swap(word, &seen, now + <uint64_t>rate.tolerance)
            ahead = rate.tolerance
        excess = ahead + cost * rate.interval - rate.tolerance
        if excess > patience:
            return -((excess - patience + (1 << SP_TICK_BITS) - 1) >> SP_TICK_BITS)
        if sp_bucket_swap(word, &seen, now + <uint64_t>(ahead + cost * rate.interval)):
            return (excess + (1 << SP_TICK_BITS) - 1) >> SP_TICK_BITS if excess > 0 else 0


cdef inline int64_t bucket_take(BucketLine* line, int64_t now_ns, int64_t cost, BucketRate* rate) noexcept nogil:
    """Take `cost` tokens: 0 if they were there, else nothing is taken and this is in how many ns they would be."""
    cdef int64_t wait = bucket_reserve(line, now_ns, cost, rate, 0)
    return 0 if wait >= 0 else -wait


cdef inline void bucket_give_back(BucketLine* line, int64_t cost, BucketRate* rate) noexcept nogil:
    """Undo a `bucket_take` that was admitted, because what it was taken for was refused elsewhere.

    At once: a bucket that has filled up in between would have spilled these tokens, but now gets them back.
    """
    cdef uint64_t* word = bucket_word(line, rate)
    sp_bucket_lower(word, <uint64_t>(cost * rate.interval))


cdef inline void bucket_charge(BucketLine* line, int64_t now_ns, int64_t cost, BucketRate* rate) noexcept nogil:
    """Take what is known only afterwards, as far as it is there: a bucket never gets emptier than empty."""
    cdef uint64_t* word = bucket_word(line, rate)
    cdef uint64_t seen = sp_bucket_read(word)
    cdef uint64_t now = <uint64_t>now_ns << SP_TICK_BITS
    cdef int64_t ahead
    while True:
        ahead = max(0, min(<int64_t>(seen - now), rate.tolerance)) + min(cost, rate.burst) * rate.interval
        if sp_bucket_swap(word, &seen, now + <uint64_t>min(ahead, rate.tolerance)):
            return


cdef inline void bucket_follow(BucketLine* line, const int64_t* interval, int64_t tolerance, BucketRate* rate) noexcept nogil:
    """Go by the interval that another process has published, if it has (0: it has not).

    A burst lasts as long at every rate, `tolerance` ticks, so there are the fewer tokens in it the lower the rate is; but
    always one.
    """
    cdef int64_t ticks = word_load(interval)
    bucket_word(line, rate)
    if ticks > 0 and ticks != rate.interval:
        rate.interval = ticks
        rate.tolerance = max(tolerance, ticks)
        rate.burst = rate.tolerance // ticks


cdef class Buckets:
    cdef object part       # keeps what `base` points to
    cdef char* base
    cdef int slots

    cdef BucketLine* line(self, int slot) except NULL


cdef class Bucket:
    cdef BucketLine* line  # hot callers: bucket_take(bucket.line, now, cost, &bucket.rate)
    cdef BucketRate rate
    cdef Buckets buckets
    cdef int64_t tolerance # ticks of a whole burst at the rate that was asked for
    cdef readonly int slot
