# Who waits for a free place, and how to wake it: a matrix [queue][row] of int64 and an eventfd for each row.
#
# A cell says who is first in the line of that worker: its class above the moment of its arrival, so that the smallest
# key of all rows is whoever is to be served next; 0 = nobody waits there. Each process writes its own row only, and a
# word is stored whole, so a process that is killed at any instruction leaves nothing to repair but its own cells.
from libc.stdint cimport int32_t, int64_t, uint32_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <unistd.h>
    static inline int64_t sp_waiter_load(const int64_t *cell) { return __atomic_load_n(cell, __ATOMIC_RELAXED); }
    static inline void sp_waiter_store(int64_t *own, int64_t key) { __atomic_store_n(own, key, __ATOMIC_RELAXED); }
    static inline uint32_t sp_waiter_rows(const uint32_t *used) { return __atomic_load_n(used, __ATOMIC_RELAXED); }
    /* The only error is a counter at its end, and then the bell rings already. */
    static inline void sp_waiter_ring(int bell) {
        uint64_t one = 1;
        ssize_t ignored = write(bell, &one, sizeof(one));
        (void)ignored;
    }
    """
    int64_t sp_waiter_load(const int64_t* cell) noexcept nogil
    void sp_waiter_store(int64_t* own, int64_t key) noexcept nogil
    uint32_t sp_waiter_rows(const uint32_t* used) noexcept nogil
    void sp_waiter_ring(int bell) noexcept nogil

cdef enum:
    NOBODY = -1
    CLASS_SHIFT = 59            # 2^59 ns of CLOCK_MONOTONIC are 18 years


ctypedef struct WaiterCells:
    int64_t* base               # the cell of queue 0, row 0
    int32_t rows                # cells of one queue
    int32_t row                 # the only one that this process may write
    const uint32_t* rows_used   # in the segment
    int[1024] bells             # eventfds by row
    int32_t bell_count          # 0: nobody can be woken


cdef inline int64_t waiter_key(int rank, int64_t since_ns) noexcept nogil:
    return <int64_t>rank << CLASS_SHIFT | since_ns


cdef inline void waiter_publish(WaiterCells* cells, int queue, int64_t key) noexcept nogil:
    """The own row's first waiter; `queue` is not checked."""
    sp_waiter_store(cells.base + <int64_t>queue * cells.rows + cells.row, key)


cdef inline int64_t waiter_at(const WaiterCells* cells, int queue, int row) noexcept nogil:
    return sp_waiter_load(cells.base + <int64_t>queue * cells.rows + row)


cdef inline int waiter_best(const WaiterCells* cells, int queue, int ignored, int64_t ignored_key) noexcept nogil:
    """The row whose waiter is to be served next, or NOBODY; `ignored` is left out as long as its key is that one.

    Cost: one cache line for every 8 rows in use."""
    cdef int row, best = NOBODY
    cdef int64_t key, best_key = 0
    for row in range(<int>sp_waiter_rows(cells.rows_used)):
        key = waiter_at(cells, queue, row)
        if key == 0 or (row == ignored and key == ignored_key):
            continue
        if best == NOBODY or key < best_key:
            best, best_key = row, key
    return best


cdef inline void waiter_ring(const WaiterCells* cells, int row) noexcept nogil:
    """Make the worker of that row look.  Cost: a write to an eventfd."""
    if row < cells.bell_count:
        sp_waiter_ring(cells.bells[row])


cdef class Waiters:
    cdef WaiterCells cells
    cdef object segment
    cdef object part            # these two views keep what `cells` points to
    cdef object header
    cdef int queues

    cdef int check(self, int queue, int row) except -1
