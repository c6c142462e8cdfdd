# How often in a row an endpoint has failed, counted by all workers together in shared words.
#
# A success ends a run that is shorter than its limit. One that has reached it stays, however well later requests go,
# until the controller has seen it: nobody who failed often enough is overlooked between two of its looks.
from libc.stdint cimport int64_t

from shardproxy.shm.words cimport Words, word_add, word_load, word_swap

cdef enum:
    NO_RUN = -1
    UNREACHED = 503         # what a failure without an answer counts as (Envoy: local origin errors are not split)

cdef struct Run:
    int64_t* errors         # words; NULL: not counted
    int64_t* gateway


cdef inline void run_on(int64_t* word) noexcept nogil:
    if word != NULL:
        word_add(word, 1)


cdef inline void run_ends(int64_t* word, int64_t limit) noexcept nogil:
    """Costs one load while there is no run."""
    cdef int64_t seen
    if word == NULL:
        return
    seen = word_load(word)
    while 0 < seen < limit:
        if word_swap(word, &seen, 0):
            return


cdef class Runs:
    cdef Words words        # keeps what the pointers point to
    cdef Run* runs          # by endpoint
    cdef readonly int count
    cdef int64_t errors_limit
    cdef int64_t gateway_limit

    cdef int64_t* find(self, int slot) except? NULL
    cdef void note(self, int index, int status) noexcept
