# Counters and histograms as row cells: [row][slot], each process writes its own row's block only.
#
# A cell is never taken back, and never moved: when its process dies, what it has counted stays in the row, and the next
# process of the row counts on from there. So each cell only grows, and so does every sum of cells, whenever it is read
# and whoever is killed at which instruction. There is no step between "counted here" and "counted there" in which a
# reader could see a count in neither place, or in both. (Cells are zeroed only when their slot gets another name, and
# that is when no process knows the former one any more: supervisor/freeing.py.)
# The price: sums go over every row that was ever in use, not over the present ones only.
#
# Histograms are log-linear (as HdrHistogram and DDSketch are): each doubling of time from 1.024 us to 2^41 ns (37 min)
# is cut into 8 equal parts, so the middle of a part is within 1/16 = 6.25 % of whatever fell into it. Shorter times
# count in the first part, longer ones in the last.
from libc.stdint cimport uint32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #define SP_HISTOGRAM_WORDS 256  /* as in layout.py */
    #define SP_HISTOGRAM_COUNTS 248 /* 31 doublings of 8 parts */
    #define SP_HISTOGRAM_SUM 248    /* the word of the sum, in ns */
    #define SP_HISTOGRAM_MIN_LOG2 10
    static inline void sp_metric_add(uint64_t *own, uint64_t n) {
        __atomic_store_n(own, __atomic_load_n(own, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
    }
    static inline uint64_t sp_metric_read(const uint64_t *cell) { return __atomic_load_n(cell, __ATOMIC_RELAXED); }
    static inline uint32_t sp_histogram_part(uint64_t ns) {
        if (ns < (1u << SP_HISTOGRAM_MIN_LOG2)) return 0;
        uint32_t log2 = 63 - (uint32_t)__builtin_clzll(ns);
        uint32_t part = (log2 - SP_HISTOGRAM_MIN_LOG2) * 8 + ((uint32_t)(ns >> (log2 - 3)) & 7);
        return part < SP_HISTOGRAM_COUNTS ? part : SP_HISTOGRAM_COUNTS - 1;
    }
    """
    const int SP_HISTOGRAM_WORDS, SP_HISTOGRAM_COUNTS, SP_HISTOGRAM_SUM, SP_HISTOGRAM_MIN_LOG2
    void sp_metric_add(uint64_t* own, uint64_t n) noexcept nogil
    uint64_t sp_metric_read(const uint64_t* cell) noexcept nogil
    uint32_t sp_histogram_part(uint64_t ns) noexcept nogil


ctypedef struct MetricCells:
    uint64_t* counters    # the own row's blocks
    uint64_t* histograms


cdef inline void count(MetricCells* cells, int slot, uint64_t n) noexcept nogil:
    """Add `n` to the own counter. `slot` is not checked."""
    sp_metric_add(cells.counters + slot, n)


cdef inline void observe_ns(MetricCells* cells, int histogram, uint64_t ns) noexcept nogil:
    """Count one duration. `histogram` is not checked."""
    cdef uint64_t* own = cells.histograms + <size_t>histogram * SP_HISTOGRAM_WORDS
    sp_metric_add(own + sp_histogram_part(ns), 1)
    sp_metric_add(own + SP_HISTOGRAM_SUM, ns)


cdef class Metrics:
    cdef MetricCells cells
    cdef object segment
    cdef object counters_part     # these two views keep what the pointers point to
    cdef object histograms_part
    cdef uint64_t* counters       # row 0's blocks; a row is so many words after the one before
    cdef uint64_t* histograms
    cdef Py_ssize_t counters_row
    cdef Py_ssize_t histograms_row
    cdef int rows

    cdef uint64_t* counter(self, int slot, int row) except NULL
    cdef uint64_t* histogram(self, int slot, int row) except NULL
    cdef uint64_t sum_over_rows(self, uint64_t* cell, Py_ssize_t stride, int used)
