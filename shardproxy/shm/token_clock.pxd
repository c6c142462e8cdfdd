# The clock that a limit's buckets go by: time measured in the limit's own tokens, so that it runs faster at a higher rate.
#
# A bucket's word is the theoretical arrival time of the generic cell rate algorithm. "It will be full again at T" means
# "T - now are missing", and what is missing are tokens. On a clock that ticks in tokens, and that goes on from where it
# stands when the rate changes, a word means the same number of missing tokens before and after: nothing has to be
# converted, neither one word nor a table of a million. So after a change of the rate
#   - a bucket holds as many tokens as before: nobody gets its burst again, and nobody loses what it had;
#   - what is missing comes back at the new rate, so nobody waits longer than a whole burst takes at that rate.
# (Were words times of the ordinary clock, a lower rate would refill every bucket: 18 s owed at 1000/h are five tokens,
# at 10/h they are a twentieth of one. And at a higher rate clients would wait for what the former rate owed.)
#
# One clock is one line of the segment:
#
#     epoch | unit | bank 0 | bank 1        the bank in force is that of the epoch's last bit; 0: never set
#
# A change fills the other bank and then stores the epoch: that one store switches the clock for all processes. Who dies
# before it leaves the former rate in force, and there is nothing to repair. A reader that sees the epoch change while it
# reads repeats that; only a second change within those nanoseconds makes it repeat once more. One writer: the supervisor.
from libc.stdint cimport int64_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #define SP_CLOCK_REPEATS 100
    typedef struct { int64_t base_ns; uint64_t base_ticks; uint64_t speed; } sp_clock_bank;
    typedef struct { uint64_t epoch; int64_t unit; sp_clock_bank banks[2]; } sp_token_clock;
    static inline uint64_t sp_clock_epoch(const sp_token_clock *clock) {
        return __atomic_load_n(&clock->epoch, __ATOMIC_ACQUIRE);
    }
    static inline int64_t sp_clock_unit(const sp_token_clock *clock) {
        return __atomic_load_n(&clock->unit, __ATOMIC_RELAXED);
    }
    static inline void sp_clock_set_unit(sp_token_clock *clock, int64_t unit) {
        __atomic_store_n(&clock->unit, unit, __ATOMIC_RELAXED);
    }
    /* The bank in force into `bank`; gives its epoch, or 0 if the clock was never set (or changed each time). */
    static inline uint64_t sp_clock_read(const sp_token_clock *clock, sp_clock_bank *bank) {
        for (int i = 0; i < SP_CLOCK_REPEATS; i++) {
            uint64_t epoch = sp_clock_epoch(clock);
            const sp_clock_bank *from = &clock->banks[epoch & 1];
            if (epoch == 0) return 0;
            bank->base_ns = __atomic_load_n(&from->base_ns, __ATOMIC_RELAXED);
            bank->base_ticks = __atomic_load_n(&from->base_ticks, __ATOMIC_RELAXED);
            bank->speed = __atomic_load_n(&from->speed, __ATOMIC_RELAXED);
            __atomic_thread_fence(__ATOMIC_ACQUIRE);
            if (sp_clock_epoch(clock) == epoch) return epoch;
        }
        return 0;
    }
    static inline void sp_clock_fill(sp_token_clock *clock, const sp_clock_bank *bank) {
        sp_clock_bank *to = &clock->banks[(sp_clock_epoch(clock) + 1) & 1];
        __atomic_store_n(&to->base_ns, bank->base_ns, __ATOMIC_RELAXED);
        __atomic_store_n(&to->base_ticks, bank->base_ticks, __ATOMIC_RELAXED);
        __atomic_store_n(&to->speed, bank->speed, __ATOMIC_RELAXED);
    }
    static inline void sp_clock_switch(sp_token_clock *clock) {
        __atomic_store_n(&clock->epoch, sp_clock_epoch(clock) + 1, __ATOMIC_RELEASE);
    }
    /* A first setting by two processes at once (they have the same rate then) must not count twice. */
    static inline void sp_clock_begin(sp_token_clock *clock) {
        uint64_t never = 0;
        __atomic_compare_exchange_n(&clock->epoch, &never, 1, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
    }
    static inline uint64_t sp_clock_bits(double number) {
        uint64_t bits;
        __builtin_memcpy(&bits, &number, 8);
        return bits;
    }
    static inline double sp_clock_number(uint64_t bits) {
        double number;
        __builtin_memcpy(&number, &bits, 8);
        return number;
    }
    """
    ctypedef struct ClockBank "sp_clock_bank":
        int64_t base_ns         # CLOCK_MONOTONIC of the change
        uint64_t base_ticks     # what the clock stood at then
        uint64_t speed          # how fast it ticks since; each kind of bucket writes that in its own way
    ctypedef struct TokenClock "sp_token_clock":
        pass
    uint64_t sp_clock_epoch(const TokenClock* clock) noexcept nogil
    int64_t sp_clock_unit(const TokenClock* clock) noexcept nogil
    void sp_clock_set_unit(TokenClock* clock, int64_t unit) noexcept nogil
    uint64_t sp_clock_read(const TokenClock* clock, ClockBank* bank) noexcept nogil
    void sp_clock_fill(TokenClock* clock, const ClockBank* bank) noexcept nogil
    void sp_clock_switch(TokenClock* clock) noexcept nogil
    void sp_clock_begin(TokenClock* clock) noexcept nogil
    uint64_t sp_clock_bits(double number) noexcept nogil
    double sp_clock_number(uint64_t bits) noexcept nogil
