# Token buckets by key (client address, API key ...) over all processes: a set-associative table of words, one for each
# key that was seen of late. A word holds a tag of its key and the bucket's whole state, GCRA's "theoretical arrival
# time" (see buckets.pxd), so one compare-and-swap changes both, and whoever dies leaves an old or a new word:
#
#       63        40 39                                  0
#       +----------+-------------------------------------+
#       |   tag    |  when the bucket will be full again |     0 = vacant
#       +----------+-------------------------------------+
#
# Time is that of the limit's own clock (token_clock.pxd), in ticks of 1/1024 of a token, so every rate is exact to a
# tick in all, 40 bits hold a thousand million tokens before they come round, and a change of the rate leaves every word
# as it is. A word is live while its time is ahead of now by no more than an empty bucket's can be, of the largest burst
# that there is: one that is ahead by more than the present burst was taken of a larger one, and is that of an empty
# bucket. Any other word is that of a full bucket, says nothing, and its place is free: nothing has to be cleaned up. (A
# word that nobody touches for the whole turn would come alive again; `sweep` makes vacant what is not live, long before.)
#
# A set has 16 places, and a secret hash says which set is a key's. When all are live, the one whose bucket is nearest
# to being full gives way: its key gets a full bucket the next time, which is the least that an eviction can give away,
# and a key that uses up its limit is never the one, whatever others do with less. (A table that evicts the least
# recently used hands full buckets to whom it has just refused: Envoy Gateway issue 9973.)
#
# Two processes may enter the same key at two places of its set at the same moment. Whoever enters a key looks at the
# set again afterwards, so at least one of them sees the other's: the higher place is given up, and what was taken
# there is charged to the lower.
#
# The clock's `unit` says for how many keys the table has places, and what the burst is, above 32 bits. When the burst
# gets smaller, no bucket is left with more missing than all of it. A table of another size has its sets elsewhere: when it
# grows, a set's words are copied to all the sets in which their keys may be looked for now, and when it shrinks, they are
# merged; copies that no key asks for run out as any word does.
from libc.stdint cimport int64_t, uint64_t

from .token_clock cimport ClockBank, TokenClock

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t sp_keyed_read(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }
    static inline void sp_keyed_store(uint64_t *word, uint64_t next) { __atomic_store_n(word, next, __ATOMIC_SEQ_CST); }
    static inline int sp_keyed_swap(uint64_t *word, uint64_t seen, uint64_t next) {
        return __atomic_compare_exchange_n(word, &seen, next, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    /* ns to ticks: a fixed-point product that does not overflow */
    static inline uint64_t sp_keyed_ticks(int64_t ns, uint64_t ticks_per_ns) {
        return (uint64_t)(((unsigned __int128)(uint64_t)ns * ticks_per_ns) >> 64);
    }
    #define SP_KEY_TIME ((UINT64_C(1) << 40) - 1)
    #define SP_KEY_TAG (~SP_KEY_TIME)
    #define SP_KEY_INTERVAL 1024
    #define SP_KEY_MOST (INT64_C(1) << 34) /* what an empty bucket of the largest burst owes */
    """
    uint64_t sp_keyed_read(const uint64_t* word) noexcept nogil
    void sp_keyed_store(uint64_t* word, uint64_t next) noexcept nogil
    bint sp_keyed_swap(uint64_t* word, uint64_t seen, uint64_t next) noexcept nogil
    uint64_t sp_keyed_ticks(int64_t ns, uint64_t ticks_per_ns) noexcept nogil
    const uint64_t SP_KEY_TIME, SP_KEY_TAG
    const int64_t SP_KEY_INTERVAL, SP_KEY_MOST


ctypedef struct KeyTable:
    uint64_t* words
    uint64_t sets           # a power of two
    uint64_t[2] secret
    TokenClock* clock
    uint64_t epoch          # of the clock when these were read:
    ClockBank bank          # its speed is in ticks a ns, times 2^64
    double ns_per_tick
    int64_t burst           # tokens of a full bucket
    int64_t empty           # ticks until an empty bucket is full again
    int64_t patience_ns
    int64_t patience        # ticks that tokens may be taken before they are there, by who waits for them
    int64_t live            # the most that a live word's time can be ahead of a clock

cdef enum KeyOutcome:
    KEY_KNOWN               # charged to the key's live word, or refused by it
    KEY_ENTERED             # in a free place
    KEY_EVICTED             # in the place of another live key


# What a key is in this table.
cdef uint64_t key_hash(const KeyTable* table, const unsigned char* key, Py_ssize_t n) noexcept nogil

# Take `cost` tokens of the key's bucket at `now_ns` (CLOCK_MONOTONIC).  From 0 up: they are taken, and whoever took them
# has to wait so many ns (at most the table's patience).  Below 0: nothing is taken, and asking again makes sense after so
# many ns; -INT64_MAX for more than the burst.  Cost: two looks at the 128 bytes of one set.
cdef int64_t key_reserve(KeyTable* table, uint64_t hashed, int64_t now_ns, int64_t cost, KeyOutcome* outcome) noexcept nogil

# The same for parts of a token: a tick is 1/1024 of one, so with tokens of 1 KiB ticks are bytes.
cdef int64_t key_reserve_ticks(KeyTable* table, uint64_t hashed, int64_t now_ns, int64_t ticks,
                               KeyOutcome* outcome) noexcept nogil

# Charge what is known only afterwards; a bucket never gets emptier than empty.
cdef void key_charge(KeyTable* table, uint64_t hashed, int64_t now_ns, int64_t cost) noexcept nogil

# Undo a take that was admitted, because what it was for was refused elsewhere; nothing if the key was evicted since.
cdef void key_give_back(KeyTable* table, uint64_t hashed, int64_t now_ns, int64_t cost) noexcept nogil
cdef void key_give_back_ticks(KeyTable* table, uint64_t hashed, int64_t now_ns, int64_t ticks) noexcept nogil


cdef class KeyedBuckets:
    cdef KeyTable table     # hot callers: key_reserve(&buckets.table, ...)
    cdef object part        # keeps what `table` points to
    cdef object segment
    cdef object section
    cdef object clocks_part
    cdef readonly int slot
    cdef readonly int keys

    cdef void begin(self, uint64_t speed)
    cdef void resize(self, int64_t former, uint64_t now)
    cdef void limit_debts(self, uint64_t now)
