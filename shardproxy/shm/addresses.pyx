"""Connections per client address, capped over all processes. What the words mean, and why it is exact: the .pxd."""

from libc.stdint cimport uint32_t, int32_t
from libc.string cimport memcpy

from shardproxy.shm import layout

from shardproxy.shm.gauges cimport gauge_add, gauge_clear_row, gauge_total, sp_gauge_fence
from shardproxy.shm.mapping cimport address
from shardproxy.shm.siphash cimport sp_siphash13

REFUSED = ADDRESS_REFUSED
UNCOUNTED = ADDRESS_UNCOUNTED

cdef enum:
    WAYS = 16        # as ADDRESS_WAYS in layout.py
    ATTEMPTS = 256   # each but the last is lost because another process changed the set meanwhile
    PATIENCE = 32    # attempts (a few us) for which a claim is left to its owner; then it counts as abandoned
    AGAIN = -3       # something has changed: look again
    IN_USE = -4      # somebody counts in the entry

cdef enum Kind:      # what a word is to who looks for room, in the order of what costs others least
    RIVAL            # claimed or settled for the same address
    VACANT
    SETTLED          # for another address, perhaps idle
    CLAIMED          # for another address


cdef struct Quest:   # one address in its set
    uint64_t* words
    int first        # the set's first entry
    uint64_t tag
    uint64_t mark    # this row's


# hot
cdef int address_enter(AddressTable* table, const unsigned char* key, Py_ssize_t n, int64_t cap) noexcept nogil:
    cdef Quest quest = quest_for(table, sp_siphash13(table.secret, key, n))
    cdef int attempt, way, outcome
    for attempt in range(ATTEMPTS):
        way = settled_at(&quest)
        if way == AGAIN:
            way = settle_somewhere(table, &quest, attempt)
        outcome = count_in(table, &quest, way, cap) if way >= 0 else way
        if outcome != AGAIN:
            return outcome
        sp_pause()
    return ADDRESS_UNCOUNTED


# hot
cdef void address_leave(AddressTable* table, int ticket) noexcept nogil:
    if ticket >= 0:
        gauge_add(&table.cells, ticket, -1)


# hot
cdef Quest quest_for(const AddressTable* table, uint64_t hashed) noexcept nogil:
    cdef Quest quest
    quest.first = <int>(hashed & (table.sets - 1)) * WAYS
    quest.words = table.words + quest.first
    quest.tag = hashed & SP_TAG
    if quest.tag == 0:
        quest.tag = SP_CLAIM << 1
    quest.mark = <uint64_t>table.cells.row + 1
    return quest


# hot
cdef int settled_at(const Quest* quest) noexcept nogil:
    """The way where the address counts, or AGAIN if there is none yet."""
    cdef int way
    for way in range(WAYS):
        if sp_tag_read(quest.words + way) & (SP_TAG | SP_CLAIM) == quest.tag:
            return way
    return AGAIN


# hot
cdef int count_in(AddressTable* table, const Quest* quest, int way, int64_t cap) noexcept nogil:
    """The ticket, REFUSED, or AGAIN if the entry has become another address's."""
    cdef int entry = quest.first + way, outcome = AGAIN
    gauge_add(&table.cells, entry, 1)
    sp_gauge_fence()
    if is_kept(quest.words + way, quest.tag):
        if gauge_total(&table.cells, entry) <= cap:
            return entry
        outcome = ADDRESS_REFUSED
    gauge_add(&table.cells, entry, -1)
    return outcome


# hot
cdef bint is_kept(uint64_t* word, uint64_t tag) noexcept nogil:
    """Whether the entry is still `tag`'s; who was about to take it over loses it."""
    cdef uint64_t seen = sp_tag_read(word)
    if seen == tag:
        return True
    return seen & (SP_TAG | SP_CLAIM) == tag and sp_tag_swap(word, seen, tag)


# hot
cdef int settle_somewhere(AddressTable* table, const Quest* quest, int attempt) noexcept nogil:
    """The way where the address counts from now on, UNCOUNTED if all entries are in use by others, or AGAIN."""
    cdef int kind, way, outcome
    cdef uint64_t seen
    for kind in range(RIVAL, CLAIMED + 1):
        for way in range(WAYS):
            seen = sp_tag_read(quest.words + way)
            if kind_of(seen, quest.tag) == kind:
                outcome = take_over(table, quest, way, seen, attempt)
                if outcome != IN_USE:
                    return outcome
    return ADDRESS_UNCOUNTED if is_full(table, quest) else AGAIN


# hot
cdef int kind_of(uint64_t word, uint64_t tag) noexcept nogil:
    if word & SP_TAG == tag:
        return RIVAL
    if word == 0:
        return VACANT
    return CLAIMED if word & SP_CLAIM else SETTLED


# hot
cdef bint is_full(const AddressTable* table, const Quest* quest) noexcept nogil:
    """Whether every entry is another address's and in use."""
    cdef int way
    for way in range(WAYS):
        if kind_of(sp_tag_read(quest.words + way), quest.tag) != SETTLED:
            return False
        if gauge_total(&table.cells, quest.first + way) == 0:
            return False
    return True


# hot
cdef int take_over(AddressTable* table, const Quest* quest, int way, uint64_t seen, int attempt) noexcept nogil:
    """The way, now the address's; IN_USE; or AGAIN."""
    cdef uint64_t* word = quest.words + way
    if seen & SP_CLAIM:
        if attempt < PATIENCE:
            return AGAIN
    elif seen & SP_TAG == quest.tag:
        return AGAIN
    elif seen != 0:
        if not is_closed(table, quest, way, seen):
            return IN_USE
        seen = seen & SP_TAG | quest.mark
    if not sp_tag_swap(word, seen, quest.tag | SP_CLAIM | quest.mark):
        return AGAIN
    return settled(quest, way)


# hot
cdef bint is_closed(AddressTable* table, const Quest* quest, int way, uint64_t seen) noexcept nogil:
    """Whether the entry was idle and is now marked so; who enters it from now on removes the mark."""
    cdef int entry = quest.first + way
    cdef uint64_t* word = quest.words + way
    cdef uint64_t closing = seen & SP_TAG | quest.mark
    if gauge_total(&table.cells, entry) != 0 or not sp_tag_swap(word, seen, closing):
        return False
    sp_gauge_fence()
    if gauge_total(&table.cells, entry) == 0:
        return True
    sp_tag_swap(word, closing, seen & SP_TAG)
    return False


# hot
cdef int settled(const Quest* quest, int way) noexcept nogil:
    """The way, if this row's claim to it prevails and is now an entry; or AGAIN."""
    cdef uint64_t claim = quest.tag | SP_CLAIM | quest.mark
    cdef int other
    sp_gauge_fence()
    for other in range(WAYS):
        if other != way and not is_out_of_the_way(quest, other, way):
            sp_tag_swap(quest.words + way, claim, 0)
            return AGAIN
    return way if sp_tag_swap(quest.words + way, claim, quest.tag) else AGAIN


# hot
cdef bint is_out_of_the_way(const Quest* quest, int other, int way) noexcept nogil:
    """Whether the other entry is not the same address's, or was a mere claim to a higher entry and has been ended."""
    cdef uint64_t seen = sp_tag_read(quest.words + other)
    if seen & SP_TAG != quest.tag:
        return True
    return other > way and seen & SP_CLAIM and sp_tag_swap(quest.words + other, seen, 0)


cdef class Addresses:
    def __init__(self, segment, int row):
        sections = segment.sections
        self.segment = segment
        self.tags_part = segment.part(sections.address_tags)
        self.cells_part = segment.part(sections.address_cells)
        self.header = segment.part(sections.header)
        self.entries = segment.capacities.addresses
        self.table.words = <uint64_t*>address(self.tags_part)
        self.table.sets = self.entries // WAYS
        self.table.cells.base = <int32_t*>address(self.cells_part)
        self.table.cells.rows = segment.capacities.rows
        self.table.cells.rows_used = <uint32_t*>(address(self.header) + <Py_ssize_t>layout.ROWS_USED_OFFSET)
        copy_secret(segment.secret, self.table.secret)
        self.check(0, row)
        self.table.cells.row = row

    def __repr__(self):
        return f"<Addresses row={self.table.cells.row} entries={self.entries}>"

    cdef int check(self, int ticket, int row) except -1:
        if not 0 <= ticket < self.entries:
            raise IndexError(f"there is no address entry {ticket}; the segment has {self.entries}")
        if not 0 <= row < self.table.cells.rows:
            raise IndexError(f"there is no row {row}; the segment has {self.table.cells.rows}")
        return 0

    def enter(self, bytes key not None, int64_t cap):
        return address_enter(&self.table, <const unsigned char*>key, len(key), cap)

    def leave(self, int ticket):
        if ticket >= 0:
            self.check(ticket, 0)
        address_leave(&self.table, ticket)

    def total(self, int ticket):
        self.check(ticket, 0)
        return gauge_total(&self.table.cells, ticket)

    def in_use(self):
        cdef int64_t first, end, entry, found = 0, stride = sizeof(int32_t) * self.table.cells.rows
        section = self.segment.sections.address_cells
        for first, end in self.segment.touched(section.offset, section.end):
            first = (first - section.offset) // stride
            end = min((end - section.offset) // stride, self.entries)
            for entry in range(first, end):
                found += gauge_total(&self.table.cells, <int>entry) != 0
        return found

    def clear_row(self, int row):
        self.check(0, row)
        gauge_clear_row(self.segment, self.segment.sections.address_cells, &self.table.cells, row)


cdef int copy_secret(bytes secret, uint64_t* words) except -1:
    if len(secret) != 16:
        raise ValueError(f"a secret must have 16 bytes, not {len(secret)}")
    memcpy(words, <const unsigned char*>secret, 16)
    return 0


def siphash13(bytes secret not None, bytes data not None):
    cdef uint64_t[2] words
    copy_secret(secret, words)
    return sp_siphash13(words, <const unsigned char*>data, len(data))
