"""Token buckets by key over all processes. What the words mean, and why it is exact: the .pxd."""

import math

from libc.stdint cimport INT64_MAX
from libc.string cimport memcpy

from shardproxy.shm.mapping cimport address
from shardproxy.shm.siphash cimport sp_siphash13
from shardproxy.shm.token_clock cimport (
    sp_clock_begin, sp_clock_epoch, sp_clock_fill, sp_clock_read, sp_clock_set_unit, sp_clock_switch, sp_clock_unit
)

cdef enum:
    WAYS = 16                       # as KEY_WAYS in layout.py
    NONE = -1
    PLACES_BITS = 32
    SLACK_NS = 1_000_000_000        # how far behind one process's reading of the clock may be

MAX_RATE = 500_000                  # tokens a second: so that a tick is not less than a ns
MAX_BURST = 1 << 24                 # as SP_KEY_MOST; so that an empty bucket's time is far from half a turn
_TICKS_PER_TOKEN = 1024             # as SP_KEY_INTERVAL
_NS_PER_S = 1_000_000_000
cdef double TWO_TO_64 = 2.0**64
cdef int64_t PLACES_MASK = (<int64_t>1 << PLACES_BITS) - 1


# hot
cdef uint64_t key_hash(const KeyTable* table, const unsigned char* key, Py_ssize_t n) noexcept nogil:
    return sp_siphash13(table.secret, key, n)


# hot
cdef int64_t key_reserve(KeyTable* table, uint64_t hashed, int64_t now_ns, int64_t cost, KeyOutcome* outcome) noexcept nogil:
    outcome[0] = KEY_KNOWN
    if cost > table.burst:
        return -INT64_MAX
    return key_reserve_ticks(table, hashed, now_ns, cost * SP_KEY_INTERVAL, outcome)


# hot
cdef int64_t key_reserve_ticks(KeyTable* table, uint64_t hashed, int64_t now_ns, int64_t ticks,
                               KeyOutcome* outcome) noexcept nogil:
    cdef uint64_t* words = set_at(table, hashed)
    cdef uint64_t tag = tag_of(hashed), now = now_of(table, now_ns)
    cdef int64_t excess = 0
    cdef int way
    outcome[0] = KEY_KNOWN
    if ticks <= 0:
        return 0
    if ticks > table.empty:
        return -INT64_MAX
    while True:
        way = place_of(words, tag)
        if way == NONE:
            if enter(table, words, tag, now, ticks, outcome):
                return 0
        elif charge(table, words + way, tag, now, ticks, &excess):
            return in_ns(table, excess)


# hot
cdef uint64_t now_of(KeyTable* table, int64_t now_ns) noexcept nogil:
    """What the table's clock stands at."""
    if sp_clock_epoch(table.clock) != table.epoch:
        set_clock(table)
    return ticks_at(&table.bank, now_ns)


# hot
cdef uint64_t ticks_at(const ClockBank* bank, int64_t now_ns) noexcept nogil:
    cdef int64_t since = now_ns - bank.base_ns
    if since < 0:  # a reading of the clock that is older than the change
        return bank.base_ticks - sp_keyed_ticks(-since, bank.speed)
    return bank.base_ticks + sp_keyed_ticks(since, bank.speed)


cdef void set_clock(KeyTable* table) noexcept nogil:
    """Go by the clock as it is now."""
    cdef ClockBank bank
    cdef uint64_t epoch = sp_clock_read(table.clock, &bank)
    if epoch == 0:
        return
    table.bank, table.epoch = bank, epoch
    table.ns_per_tick = TWO_TO_64 / <double>bank.speed
    table.patience = <int64_t>sp_keyed_ticks(table.patience_ns, bank.speed)
    table.live = SP_KEY_MOST + table.patience + <int64_t>sp_keyed_ticks(SLACK_NS, bank.speed)


# hot
cdef int64_t in_ns(const KeyTable* table, int64_t excess) noexcept nogil:
    """Of a charge: the wait of who was admitted, or less than 0."""
    if excess <= 0:
        return 0
    if excess <= table.patience:
        return <int64_t>(<double>excess * table.ns_per_tick)
    return -<int64_t>(<double>(excess - table.patience) * table.ns_per_tick) - 1


# hot
cdef uint64_t* set_at(const KeyTable* table, uint64_t hashed) noexcept nogil:
    return table.words + (hashed & (table.sets - 1)) * WAYS


# hot
cdef uint64_t tag_of(uint64_t hashed) noexcept nogil:
    """Never 0, so that no word of a key is 0 either."""
    return hashed & SP_KEY_TAG if hashed & SP_KEY_TAG else SP_KEY_TIME + 1


# hot
cdef int place_of(const uint64_t* words, uint64_t tag) noexcept nogil:
    cdef int way
    for way in range(WAYS):
        if sp_keyed_read(words + way) & SP_KEY_TAG == tag:
            return way
    return NONE


# hot
cdef int64_t ahead_of(const KeyTable* table, uint64_t word, uint64_t now) noexcept nogil:
    """Ticks until the bucket is full; 0 for a full one, and for a word that is not live."""
    cdef int64_t ahead = <int64_t>((word - now) & SP_KEY_TIME)
    if ahead > table.live or word == 0:
        return 0
    return min(ahead, table.empty + table.patience)


# hot
cdef bint charge(const KeyTable* table, uint64_t* word, uint64_t tag, uint64_t now, int64_t ticks,
                 int64_t* excess) noexcept nogil:
    """By how much the bucket is overdrawn with it, in `excess`; charged unless that is above the table's patience.
    False when the word has become another key's."""
    cdef uint64_t seen
    cdef int64_t due
    while True:
        seen = sp_keyed_read(word)
        if seen & SP_KEY_TAG != tag:
            return False
        due = ahead_of(table, seen, now) + ticks
        excess[0] = due - table.empty
        if excess[0] > table.patience or sp_keyed_swap(word, seen, word_of(tag, now, due)):
            return True


# hot
cdef uint64_t word_of(uint64_t tag, uint64_t now, int64_t ahead) noexcept nogil:
    return tag | ((now + <uint64_t>ahead) & SP_KEY_TIME)


# hot
cdef bint enter(KeyTable* table, uint64_t* words, uint64_t tag, uint64_t now, int64_t ticks,
                KeyOutcome* outcome) noexcept nogil:
    """Whether the key has a place now, and has been charged there; if not, somebody was faster: look again."""
    cdef int64_t least
    cdef uint64_t seen = 0
    cdef int way = place_to_take(table, words, now, &seen, &least)
    if not sp_keyed_swap(words + way, seen, word_of(tag, now, ticks)):
        return False
    outcome[0] = KEY_EVICTED if least > 0 else KEY_ENTERED
    return is_alone(table, words, way, tag, now, ticks)


# hot
cdef int place_to_take(const KeyTable* table, const uint64_t* words, uint64_t now, uint64_t* seen,
                       int64_t* least) noexcept nogil:
    """The first place that is free, or else the one whose bucket is the nearest to being full."""
    cdef int way, best = NONE
    cdef uint64_t word
    cdef int64_t ahead
    for way in range(WAYS):
        word = sp_keyed_read(words + way)
        ahead = ahead_of(table, word, now)
        if best == NONE or ahead < least[0]:
            best, seen[0], least[0] = way, word, ahead
            if ahead == 0:
                break
    return best


# hot
cdef bint is_alone(KeyTable* table, uint64_t* words, int own, uint64_t tag, uint64_t now, int64_t ticks) noexcept nogil:
    """Whether the take at `own`, where the key has just been entered, stands.  A higher place of the same key is merged
    into it; for a lower one it is given up."""
    cdef int way
    cdef uint64_t seen
    for way in range(WAYS):
        seen = sp_keyed_read(words + way)
        if way == own or seen & SP_KEY_TAG != tag:
            continue
        if way < own:
            return not give_up(table, words + own, words + way, tag, now, ticks)
        if sp_keyed_swap(words + way, seen, 0):
            add(table, words + own, tag, now, ahead_of(table, seen, now))
    return True


# hot
cdef bint give_up(KeyTable* table, uint64_t* word, uint64_t* lower, uint64_t tag, uint64_t now,
                  int64_t ticks) noexcept nogil:
    """Make the place vacant; what others took there meanwhile is charged to the lower.  False if it has been merged
    already: then our take is charged there, too."""
    cdef uint64_t seen
    while True:
        seen = sp_keyed_read(word)
        if seen & SP_KEY_TAG != tag:
            return False
        if sp_keyed_swap(word, seen, 0):
            add(table, lower, tag, now, ahead_of(table, seen, now) - ticks)
            return True


# hot
cdef void add(const KeyTable* table, uint64_t* word, uint64_t tag, uint64_t now, int64_t ticks) noexcept nogil:
    """Charge what has been admitted already; a bucket never gets emptier than empty, or fuller than full."""
    cdef uint64_t seen
    cdef int64_t ahead
    while ticks != 0:
        seen = sp_keyed_read(word)
        if seen & SP_KEY_TAG != tag:
            return
        ahead = max(0, min(ahead_of(table, seen, now) + ticks, table.empty + table.patience))
        if sp_keyed_swap(word, seen, word_of(tag, now, ahead)):
            return


# hot
cdef void key_charge(KeyTable* table, uint64_t hashed, int64_t now_ns, int64_t cost) noexcept nogil:
    key_give_back_ticks(table, hashed, now_ns, -cost * SP_KEY_INTERVAL)


cdef void key_give_back(KeyTable* table, uint64_t hashed, int64_t now_ns, int64_t cost) noexcept nogil:
    key_give_back_ticks(table, hashed, now_ns, cost * SP_KEY_INTERVAL)


# hot
cdef void key_give_back_ticks(KeyTable* table, uint64_t hashed, int64_t now_ns, int64_t ticks) noexcept nogil:
    cdef uint64_t* words = set_at(table, hashed)
    cdef uint64_t tag = tag_of(hashed)
    cdef int way = place_of(words, tag)
    if way != NONE:
        add(table, words + way, tag, now_of(table, now_ns), -ticks)


cdef class KeyedBuckets:
    def __init__(self, segment, int slot, int keys, double rate_per_s, int64_t burst, int64_t patience_ns=0):
        section = segment.sections.keyed
        if not 0 <= slot < section.blocks:
            raise IndexError(f"there is no key table {slot}; the segment has {section.blocks}")
        if keys & (keys - 1) or not WAYS <= keys <= segment.capacities.keys:
            raise ValueError(f"the keys of a table must be a power of two from {WAYS} to {segment.capacities.keys}, not {keys}")
        speed = speed_of(rate_per_s)
        if not 1 <= burst <= MAX_BURST:
            raise ValueError(f"the burst of a keyed bucket must be from 1 to {MAX_BURST}, not {burst}")
        self.segment, self.section, self.slot, self.keys = segment, section, slot, keys
        self.part = segment.part(section)
        self.table.words = <uint64_t*>(address(self.part) + <Py_ssize_t>slot * <Py_ssize_t>section.stride)
        self.table.sets = keys // WAYS
        self.table.burst = burst
        self.table.empty = burst * SP_KEY_INTERVAL
        self.table.patience_ns = patience_ns
        self.clocks_part = segment.part(segment.sections.clocks)
        self.table.clock = <TokenClock*>(address(self.clocks_part) + <Py_ssize_t>slot * 64)
        if sp_clock_epoch(self.table.clock) == 0:
            self.begin(speed)
        set_clock(&self.table)
        memcpy(self.table.secret, <const unsigned char*>(<bytes>segment.secret), 16)

    cdef void begin(self, uint64_t speed):
        """Nobody has set the table's clock yet."""
        cdef ClockBank bank = ClockBank(0, 0, speed)
        sp_clock_set_unit(self.table.clock, unit_of(self.keys, self.table.burst))
        sp_clock_fill(self.table.clock, &bank)
        sp_clock_begin(self.table.clock)

    def __repr__(self):
        return f"<KeyedBuckets {self.slot} keys={self.keys} burst={self.table.burst}>"

    def take(self, bytes key not None, int64_t now_ns, int64_t cost=1):
        cdef KeyOutcome outcome
        cdef int64_t wait = key_reserve(&self.table, key_hash(&self.table, key, len(key)), now_ns, cost, &outcome)
        return -wait if wait < 0 else 0

    def reserve(self, bytes key not None, int64_t now_ns, int64_t cost=1):
        cdef KeyOutcome outcome
        return key_reserve(&self.table, key_hash(&self.table, key, len(key)), now_ns, cost, &outcome)

    def enter(self, bytes key not None, int64_t now_ns):
        cdef KeyOutcome outcome
        key_reserve(&self.table, key_hash(&self.table, key, len(key)), now_ns, 1, &outcome)
        return outcome == KEY_EVICTED

    def give_back(self, bytes key not None, int64_t now_ns, int64_t cost=1):
        key_give_back(&self.table, key_hash(&self.table, key, len(key)), now_ns, cost)

    def set_of(self, bytes key not None):
        return key_hash(&self.table, key, len(key)) & (self.table.sets - 1)

    def set_rate(self, double rate_per_s, int64_t now_ns):
        cdef ClockBank bank = ClockBank(now_ns, now_of(&self.table, now_ns), speed_of(rate_per_s))
        cdef int64_t unit = sp_clock_unit(self.table.clock)
        if unit & PLACES_MASK != self.keys:
            self.resize(unit & PLACES_MASK, bank.base_ticks)
        if unit >> PLACES_BITS > self.table.burst:
            self.limit_debts(bank.base_ticks)
        sp_clock_set_unit(self.table.clock, unit_of(self.keys, self.table.burst))
        if bank.speed != self.table.bank.speed:
            sp_clock_fill(self.table.clock, &bank)
            sp_clock_switch(self.table.clock)

    cdef void resize(self, int64_t former, uint64_t now):
        """From `former` places to `keys`.  Only pages that were ever written are looked at."""
        cdef int64_t first, end, start = self.section.offset + self.slot * self.section.stride
        cdef int64_t begin = 0 if self.keys > former else self.keys
        for first, end in list(self.segment.touched(start + 8 * begin, start + 8 * former)):
            first, end = (first - start) // 8, (end - start) // 8
            if self.keys > former:
                spread(&self.table, first, min(end, former), former, self.keys)
            else:
                merge(&self.table, first, min(end, former), self.keys, now)

    cdef void limit_debts(self, uint64_t now):
        """The burst is smaller than it was: no bucket lacks more than all of it."""
        cdef int64_t first, end, start = self.section.offset + self.slot * self.section.stride
        for first, end in list(self.segment.touched(start, start + 8 * self.keys)):
            limit_words(&self.table, (first - start) // 8, (end - start) // 8, now)

    def sweep(self, int64_t now_ns):
        cdef uint64_t now = now_of(&self.table, now_ns)
        cdef int64_t first, end, live = 0, start = self.section.offset + self.slot * self.section.stride
        for first, end in self.segment.touched(start, start + self.section.stride):
            live += swept(&self.table, (first - start) // 8, min((end - start) // 8, <int64_t>self.keys), now)
        return live


cdef int64_t swept(KeyTable* table, int64_t first, int64_t end, uint64_t now) noexcept nogil:
    """How many of these words are live; the others become vacant."""
    cdef int64_t entry, live = 0
    cdef uint64_t seen
    for entry in range(first, end):
        seen = sp_keyed_read(table.words + entry)
        if seen and ahead_of(table, seen, now) > 0:
            live += 1
        elif seen:
            sp_keyed_swap(table.words + entry, seen, 0)
    return live


cdef void spread(KeyTable* table, int64_t first, int64_t end, int64_t former, int64_t places) noexcept nogil:
    """Of a table that has grown: copy each word to where its key may be looked for now."""
    cdef int64_t entry, copy
    for entry in range(first, end):
        copy = entry + former
        while copy < places:
            sp_keyed_store(table.words + copy, sp_keyed_read(table.words + entry))
            copy += former


cdef void limit_words(KeyTable* table, int64_t first, int64_t end, uint64_t now) noexcept nogil:
    cdef int64_t entry, ahead
    cdef uint64_t seen
    for entry in range(first, end):
        seen = sp_keyed_read(table.words + entry)
        ahead = ahead_of(table, seen, now)
        if ahead > 0:
            sp_keyed_swap(table.words + entry, seen, word_of(seen & SP_KEY_TAG, now, ahead))


cdef void merge(KeyTable* table, int64_t first, int64_t end, int64_t places, uint64_t now) noexcept nogil:
    """Of a table that has shrunk: a word that is live goes to where its key is looked for now.  If its set is full
    there, the bucket that is the nearest to being full gives way.  Of two words of a key (one may be a copy from when the
    table grew, which nobody has charged since) the one that owes more holds."""
    cdef int64_t entry, least
    cdef uint64_t seen, other
    cdef uint64_t* words
    cdef int way
    for entry in range(first, end):
        seen = sp_keyed_read(table.words + entry)
        if ahead_of(table, seen, now) == 0:
            continue
        words = table.words + ((entry // WAYS) & (places // WAYS - 1)) * WAYS
        way = place_of(words, seen & SP_KEY_TAG)
        if way == NONE:
            way = place_to_take(table, words, now, &other, &least)
        else:
            other = sp_keyed_read(words + way)
            least = ahead_of(table, other, now)
        if ahead_of(table, seen, now) > least:
            sp_keyed_swap(words + way, other, seen)


cdef int64_t unit_of(int64_t places, int64_t burst) noexcept:  # of a table's clock
    return burst << PLACES_BITS | places


cdef uint64_t speed_of(double rate_per_s) except 0:
    """Ticks a ns, times 2^64."""
    if not 0 < rate_per_s <= MAX_RATE:
        raise ValueError(f"the rate of a keyed bucket must be above 0 and at most {MAX_RATE}, not {rate_per_s}")
    return max(1, math.floor(rate_per_s * _TICKS_PER_TOKEN / _NS_PER_S * 2.0**64))
