# Shared words: one number each, read and written by all processes. Any value is a valid state, so whoever dies while
# writing leaves an old or a new one. For what cannot be a sum of row cells, because its order matters: a position that
# all take turns from, an average that all move, a limit that one publishes.
from libc.stdint cimport int64_t

cdef extern from *:
    """
    #include <stdint.h>
    static inline int64_t sp_word_load(const int64_t *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
    static inline void sp_word_store(int64_t *word, int64_t value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }
    static inline int64_t sp_word_add(int64_t *word, int64_t delta) {
        return __atomic_fetch_add(word, delta, __ATOMIC_RELAXED);
    }
    static inline int sp_word_swap(int64_t *word, int64_t *seen, int64_t next) {
        return __atomic_compare_exchange_n(word, seen, next, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    """
    int64_t word_load "sp_word_load" (const int64_t* word) noexcept nogil
    void word_store "sp_word_store" (int64_t* word, int64_t value) noexcept nogil
    # what it was before
    int64_t word_add "sp_word_add" (int64_t* word, int64_t delta) noexcept nogil
    # false: `seen` is what it is now (or nobody interfered: it may fail for no reason)
    bint word_swap "sp_word_swap" (int64_t* word, int64_t* seen, int64_t next) noexcept nogil


cdef class Words:
    cdef object part       # keeps what `base` points to
    cdef char* base
    cdef readonly int slots

    cdef int64_t* word(self, int slot) except NULL
