"""Counters and histograms as row cells: count in the own row, sum over all rows that ever were in use."""

import math

from shardproxy.shm.mapping cimport address

HISTOGRAM_COUNTS = SP_HISTOGRAM_COUNTS


cdef class Metrics:
    def __init__(self, segment, int row):
        sections = segment.sections
        self.segment = segment
        self.rows = segment.capacities.rows
        self.counters_part = segment.part(sections.counters)
        self.histograms_part = segment.part(sections.histograms)
        self.counters = <uint64_t*>address(self.counters_part)
        self.histograms = <uint64_t*>address(self.histograms_part)
        self.counters_row = sections.counters.stride // 8
        self.histograms_row = sections.histograms.stride // 8
        self.cells.counters = self.counter(0, row)
        self.cells.histograms = self.histogram(0, row)

    def __repr__(self):
        row = (self.cells.counters - self.counters) // self.counters_row
        return f"<Metrics row={row} counters={self.segment.capacities.counters}>"

    cdef uint64_t* counter(self, int slot, int row) except NULL:
        check("counter", slot, self.segment.capacities.counters)
        check("row", row, self.rows)
        return self.counters + row * self.counters_row + slot

    cdef uint64_t* histogram(self, int slot, int row) except NULL:
        check("histogram", slot, self.segment.capacities.histograms)
        check("row", row, self.rows)
        return self.histograms + row * self.histograms_row + <Py_ssize_t>slot * SP_HISTOGRAM_WORDS

    cdef uint64_t sum_over_rows(self, uint64_t* cell, Py_ssize_t stride, int used):
        cdef uint64_t total = 0
        cdef int row
        for row in range(used):
            total += sp_metric_read(cell + row * stride)
        return total

    def count(self, int slot, uint64_t n=1):
        self.counter(slot, 0)
        count(&self.cells, slot, n)

    def observe_ns(self, int slot, uint64_t ns):
        self.histogram(slot, 0)
        observe_ns(&self.cells, slot, ns)

    def counter_total(self, int slot):
        return self.sum_over_rows(self.counter(slot, 0), self.counters_row, self.segment.rows_counted)

    def counter_row(self, int slot, int row):
        return sp_metric_read(self.counter(slot, row))

    def histogram_total(self, int slot):
        cdef uint64_t* first = self.histogram(slot, 0)
        cdef int part, used = self.segment.rows_counted
        return [self.sum_over_rows(first + part, self.histograms_row, used) for part in range(SP_HISTOGRAM_COUNTS)]

    def histogram_sum_ns(self, int slot):
        cdef uint64_t* sums = self.histogram(slot, 0) + SP_HISTOGRAM_SUM
        return self.sum_over_rows(sums, self.histograms_row, self.segment.rows_counted)


cdef int check(str what, Py_ssize_t index, Py_ssize_t capacity) except -1:
    if not 0 <= index < capacity:
        raise IndexError(f"there is no {what} {index}; the segment has {capacity}")
    return 0


def part_bounds_ns(int part):
    check("histogram part", part, SP_HISTOGRAM_COUNTS)
    log2 = SP_HISTOGRAM_MIN_LOG2 + part // 8
    width = 1 << (log2 - 3)
    low = (1 << log2) + part % 8 * width
    return low, low + width


def quantile(counts, double q):
    if not 0 <= q <= 1:
        raise ValueError(f"a quantile must be from 0 to 1, not {q}")
    rank = max(1, math.ceil(q * sum(counts)))
    for part, observed in enumerate(counts):
        rank -= observed
        if rank <= 0:
            low, high = part_bounds_ns(part)
            return (low + high) / 2
    return 0.0
