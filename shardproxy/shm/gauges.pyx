"""Gauges as row cells: add to the own cell, sum over all, reserve under a cap, clear a dead process's row."""

from shardproxy.shm import layout

from shardproxy.shm.mapping cimport address


cdef class Gauges:
    def __init__(self, segment, int row):
        self.segment = segment
        self.part = segment.part(segment.sections.gauges)
        self.header = segment.part(segment.sections.header)
        self.slots = segment.capacities.gauges
        self.cells.base = <int32_t*>address(self.part)
        self.cells.rows = segment.capacities.rows
        self.cells.rows_used = <uint32_t*>(address(self.header) + <Py_ssize_t>layout.ROWS_USED_OFFSET)
        self.check(0, row)
        self.cells.row = row

    def __repr__(self):
        return f"<Gauges row={self.cells.row} slots={self.slots}>"

    cdef int check(self, int slot, int row) except -1:
        if not 0 <= slot < self.slots:
            raise IndexError(f"there is no gauge {slot}; the segment has {self.slots}")
        if not 0 <= row < self.cells.rows:
            raise IndexError(f"there is no row {row}; the segment has {self.cells.rows}")
        return 0

    def add(self, int slot, int delta):
        self.check(slot, 0)
        gauge_add(&self.cells, slot, delta)

    def total(self, int slot):
        self.check(slot, 0)
        return gauge_total(&self.cells, slot)

    def row_value(self, int slot, int row):
        self.check(slot, row)
        return self.cells.base[<int64_t>slot * self.cells.rows + row]

    def reserve(self, int slot, int64_t cap):
        self.check(slot, 0)
        return gauge_reserve(&self.cells, slot, cap)

    def clear_row(self, int row):
        self.check(0, row)
        gauge_clear_row(self.segment, self.segment.sections.gauges, &self.cells, row)


cdef int gauge_clear_row(segment, section, const GaugeCells* cells, int row) except -1:
    cdef int64_t first, end, stride = sizeof(int32_t) * cells.rows
    for first, end in segment.touched(section.offset, section.end):
        first = (first - section.offset) // stride
        end = min((end - section.offset + stride - 1) // stride, section.blocks)
        clear(cells.base + row, cells.rows, first, end)
    return 0


cdef void clear(int32_t* cells, int32_t stride, int64_t slot, int64_t end) noexcept nogil:
    while slot < end:
        if cells[slot * stride] != 0:
            cells[slot * stride] = 0
        slot += 1
