"""Shared words: one number each, on a line of its own, so that busy ones do not slow each other."""

from shardproxy.shm.mapping cimport address


cdef class Words:
    def __init__(self, segment):
        self.part = segment.part(segment.sections.words)
        self.base = address(self.part)
        self.slots = segment.capacities.words

    def __repr__(self):
        return f"<Words slots={self.slots}>"

    cdef int64_t* word(self, int slot) except NULL:
        if not 0 <= slot < self.slots:
            raise IndexError(f"there is no word {slot}; the segment has {self.slots}")
        return <int64_t*>(self.base + <Py_ssize_t>slot * 64)

    def load(self, int slot):
        return word_load(self.word(slot))

    def store(self, int slot, int64_t value):
        word_store(self.word(slot), value)

    def add(self, int slot, int64_t delta):
        return word_add(self.word(slot), delta)
