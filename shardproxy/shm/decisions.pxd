# What the controller has decided about each endpoint: one writer, the controller; everybody reads.
#
# A decision that is all zero is "use it", so that fresh memory, or no controller at all, leaves every endpoint in use.
# Each field is one aligned word that is stored whole: whoever dies while writing leaves an old or a new value.
from libc.stdint cimport int64_t, uint32_t

cdef extern from *:
    """
    #include <stdint.h>
    #define SP_DECISION_FAILED_CHECK 1u  /* as in decisions.pyi */
    #define SP_DECISION_EJECTED 2u
    #define SP_DECISION_OUT 0xFFu        /* any of these bits: not to be used */
    typedef struct { uint32_t flags, reason; int64_t since_ns; } sp_decision;
    static inline uint32_t sp_decision_flags(const sp_decision *cell) {
        return __atomic_load_n(&cell->flags, __ATOMIC_RELAXED);
    }
    static inline void sp_decision_set_flags(sp_decision *cell, uint32_t flags) {
        __atomic_store_n(&cell->flags, flags, __ATOMIC_RELAXED);
    }
    static inline int64_t sp_generation(const sp_decision *cell) {
        return __atomic_load_n(&cell->since_ns, __ATOMIC_ACQUIRE);
    }
    static inline void sp_generation_raise(sp_decision *cell) {
        __atomic_add_fetch(&cell->since_ns, 1, __ATOMIC_RELEASE);
    }
    """
    ctypedef struct Decision "sp_decision":
        uint32_t flags
        uint32_t reason      # why, in the controller's own code; 0 = nothing to say
        int64_t since_ns     # CLOCK_MONOTONIC of the last change; 0 = never
    const uint32_t SP_DECISION_OUT
    uint32_t sp_decision_flags(const Decision* cell) noexcept nogil
    void sp_decision_set_flags(Decision* cell, uint32_t flags) noexcept nogil
    int64_t sp_generation(const Decision* cell) noexcept nogil
    void sp_generation_raise(Decision* cell) noexcept nogil


cdef inline bint decision_is_out(const Decision* base, int slot) noexcept nogil:
    """Whether the endpoint is to be left out. `slot` is not checked."""
    return (sp_decision_flags(base + slot) & SP_DECISION_OUT) != 0


cdef inline int64_t decisions_generation(const Decision* base, int slots) noexcept nogil:
    """Raised after every change of a decision's flags: what was counted at the same generation still holds."""
    return sp_generation(base + slots)


cdef class Decisions:
    cdef Decision* base
    cdef object part      # keeps what `base` points to
    cdef readonly int slots

    cdef Decision* cell(self, int slot) except NULL
    cdef set_flags(self, Decision* cell, uint32_t flags)
