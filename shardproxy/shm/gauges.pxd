# Gauges as row cells: how many of something there are now, summed over all processes.
#
# The matrix is [slot][row] of int32. Each process writes the cells of its own row and no others, so nothing is locked
# and an add is a plain load and store. A process that is killed at any instruction leaves nothing to repair but its
# own cells, and those are set to zero.
from libc.stdint cimport int32_t, int64_t, uint32_t

cdef extern from *:
    """
    #include <stdint.h>
    static inline void sp_gauge_add(int32_t *own, int32_t delta) {
        __atomic_store_n(own, __atomic_load_n(own, __ATOMIC_RELAXED) + delta, __ATOMIC_RELAXED);
    }
    /* Whole lines of 16 cells, so that the loop becomes vector adds; the cells past `used` are zero. The loads are
       plain (relaxed atomic ones are not vectorised) and aligned, which no supported processor tears; the barrier
       makes the compiler read them again each time. */
    static inline int64_t sp_gauge_sum(const int32_t *cells, const uint32_t *rows_used) {
        const int32_t *line = (const int32_t *)__builtin_assume_aligned(cells, 64);
        const int32_t *end = line + __atomic_load_n(rows_used, __ATOMIC_RELAXED);
        int64_t total = 0;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        for (; line < end; line += 16)
            for (int i = 0; i < 16; i++)
                total += line[i];
        return total;
    }
    static inline void sp_gauge_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
    """
    void sp_gauge_add(int32_t* own, int32_t delta) noexcept nogil
    int64_t sp_gauge_sum(const int32_t* cells, const uint32_t* rows_used) noexcept nogil
    void sp_gauge_fence() noexcept nogil


ctypedef struct GaugeCells:
    int32_t* base              # the cell of slot 0, row 0
    int32_t rows               # cells of one slot
    int32_t row                # the only one this process may write
    const uint32_t* rows_used  # in the segment, so that a new row counts at once


cdef inline void gauge_add(GaugeCells* cells, int slot, int delta) noexcept nogil:
    """Add to the own cell. `slot` is not checked."""
    sp_gauge_add(cells.base + <int64_t>slot * cells.rows + cells.row, delta)


cdef inline int64_t gauge_total(const GaugeCells* cells, int slot) noexcept nogil:
    """The sum over all rows: one cache line for every 16 rows in use."""
    return sp_gauge_sum(cells.base + <int64_t>slot * cells.rows, cells.rows_used)


cdef inline bint gauge_reserve(GaugeCells* cells, int slot, int64_t cap) noexcept nogil:
    """Add one if the total stays within `cap`; false, and nothing added, if not.

    The cap is never exceeded: of all who hold a place, the one whose fence came last has seen the cells of all the
    others. Two who ask for the last place at the same instant may both be refused.
    """
    gauge_add(cells, slot, 1)
    sp_gauge_fence()
    if gauge_total(cells, slot) <= cap:
        return True
    gauge_add(cells, slot, -1)
    return False


# Set what one row has added to 0 in all slots of a section of such cells; memory that nobody touched stays so.
cdef int gauge_clear_row(object segment, object section, const GaugeCells* cells, int row) except -1


cdef class Gauges:
    cdef GaugeCells cells
    cdef object segment
    cdef object part      # these two views keep what `cells` points to
    cdef object header
    cdef int slots

    cdef int check(self, int slot, int row) except -1
