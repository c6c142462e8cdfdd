"""Decision cells: the controller writes what it has found out about each endpoint, and all workers read it."""

from shardproxy.shm.mapping cimport address

FAILED_CHECK = 1
EJECTED = 2
CHECKED = 0x100


cdef class Decisions:
    def __init__(self, segment):
        self.part = segment.part(segment.sections.decisions)
        self.base = <Decision*>address(self.part)
        self.slots = segment.capacities.decisions

    def __repr__(self):
        return f"<Decisions slots={self.slots}>"

    cdef Decision* cell(self, int slot) except NULL:
        if not 0 <= slot < self.slots:
            raise IndexError(f"there is no decision {slot}; the segment has {self.slots}")
        return self.base + slot

    cdef set_flags(self, Decision* cell, uint32_t flags):
        sp_decision_set_flags(cell, flags)
        sp_generation_raise(self.base + self.slots)

    def flags(self, int slot):
        return sp_decision_flags(self.cell(slot))

    def reason(self, int slot):
        return self.cell(slot).reason

    def since_ns(self, int slot):
        return self.cell(slot).since_ns

    def is_out(self, int slot):
        self.cell(slot)
        return decision_is_out(self.base, slot)

    def decide(self, int slot, uint32_t flags, uint32_t reason, int64_t now_ns):
        cdef Decision* cell = self.cell(slot)
        cell.reason = reason
        cell.since_ns = now_ns
        self.set_flags(cell, flags)

    def withdraw(self, int slot, uint32_t flags):
        cdef Decision* cell = self.cell(slot)
        cdef uint32_t left = cell.flags & ~flags
        if left != cell.flags:
            self.set_flags(cell, left)
        if left == 0:
            self.clear(slot)

    def clear(self, int slot):
        cdef Decision* cell = self.cell(slot)
        if cell.since_ns == 0 and cell.flags == 0:
            return  # the page stays untouched
        self.set_flags(cell, 0)
        cell.reason = 0
        cell.since_ns = 0
