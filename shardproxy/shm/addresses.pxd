# Connections per client address, capped over all processes: a set-associative table of entries. An entry is a tag word
# (which address) and a count, which is a gauge: a cell for each row, written by that row's process only.
#
# The word is 52 bits of the address's hash and 12 of mark (the set gives up to 12 more bits of the hash):
#
#       0                 vacant: nobody ever was here, or a claim was given up
#       tag               settled: the address `tag` counts here
#       tag closing r     settled, and row r looks whether it is idle, to use the entry for another address
#       tag claim r       row r wants to settle `tag` here; nobody counts here yet
#
#               r claims                   r alone, having seen no other claim or entry of the tag in the set
#     vacant --------------> tag claim r ----------------------------------------------> tag
#        ^                    |       ^                                                  |  ^
#        +--------------------+       | r, if the count is still 0            r (idle)   v  | anybody who wants the tag
#          given up, or ended by      +------------------------------------------- tag closing r
#          a rival in a lower entry
#
# A mark of a dead row needs no repair: a closing entry is settled again by the next of its address, closed anew by the
# next who looks for room; a claim is taken over. No step waits for another process, so one that is stopped or killed
# anywhere stops nobody.
#
# Why the cap holds. (1) While somebody counts in an entry, its word stays settled with that tag. Who enters adds to the
# own cell, fences, then reads the word; who takes an entry over marks it closing, fences, then reads the cells. One of
# the two fences is first, so the enterer sees the mark (and settles the entry again, so that the taker's next swap
# fails, or backs out) or the taker sees the count. r's mark is only ever set by r: that it is still there says that
# nobody settled the entry in between. (2) A tag is settled in at most one entry of its set. A claim becomes settled only
# by its owner, who after the claim has fenced and read all other words; of two rivals the one who fenced later sees the
# other's claim or entry, and withdraws or, if its own entry is the lower one, swaps the other's claim away, so that the
# other cannot settle. (3) So all who count for one address count in one entry, and there `gauge_reserve`'s reasoning
# holds: the one whose fence came last has seen all others.
# Why nothing leaks: a count is only ever in the cells, each process undoes its own, and a dead process's are cleared.
# A count that is added and taken back (backed out, refused) may for some nanoseconds refuse another or make an idle
# entry look busy, never the reverse.
from libc.stdint cimport uint64_t, int64_t

from shardproxy.shm.gauges cimport GaugeCells

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t sp_tag_read(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }
    static inline int sp_tag_swap(uint64_t *word, uint64_t seen, uint64_t next) {
        return __atomic_compare_exchange_n(word, &seen, next, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    #if defined(__x86_64__)
    static inline void sp_pause(void) { __builtin_ia32_pause(); }
    #elif defined(__aarch64__)
    static inline void sp_pause(void) { __asm__ volatile("yield"); }
    #else
    static inline void sp_pause(void) { __atomic_signal_fence(__ATOMIC_SEQ_CST); }
    #endif
    #define SP_TAG (~UINT64_C(0xfff))
    #define SP_CLAIM UINT64_C(0x800)  /* the other 11 bits of the mark are row + 1 */
    """
    uint64_t sp_tag_read(const uint64_t* word) noexcept nogil
    bint sp_tag_swap(uint64_t* word, uint64_t seen, uint64_t next) noexcept nogil
    void sp_pause() noexcept nogil
    const uint64_t SP_TAG, SP_CLAIM


cdef enum:
    ADDRESS_REFUSED = -1     # the address has `cap` connections already
    ADDRESS_UNCOUNTED = -2   # no entry could be had: admit without counting


ctypedef struct AddressTable:
    GaugeCells cells    # the count of every entry
    uint64_t* words     # the tag word of every entry
    uint64_t sets       # a power of two
    uint64_t[2] secret


# The ticket (>= 0) of a connection that is now counted for the address `key` of `n` bytes, or ADDRESS_REFUSED or
# ADDRESS_UNCOUNTED.
cdef int address_enter(AddressTable* table, const unsigned char* key, Py_ssize_t n, int64_t cap) noexcept nogil

# Give the place back; does nothing for a ticket below 0. Each ticket once, by the process that got it.
cdef void address_leave(AddressTable* table, int ticket) noexcept nogil


cdef class Addresses:
    cdef AddressTable table    # hot callers: address_enter(&addresses.table, key, n, cap)
    cdef object segment
    cdef object tags_part      # these views keep what `table` points to
    cdef object cells_part
    cdef object header
    cdef int entries

    cdef int check(self, int ticket, int row) except -1
