"""Who waits for a free place, in which worker, since when; and the bells by which workers wake each other."""

from shardproxy.shm import layout

from shardproxy.shm.mapping cimport address


cdef class Waiters:
    def __init__(self, segment, int row, bells=()):
        self.segment = segment
        self.part = segment.part(segment.sections.waiters)
        self.header = segment.part(segment.sections.header)
        self.queues = segment.capacities.queues
        self.cells.base = <int64_t*>address(self.part)
        self.cells.rows = segment.capacities.rows
        self.cells.rows_used = <uint32_t*>(address(self.header) + <Py_ssize_t>layout.ROWS_USED_OFFSET)
        self.check(0, row)
        self.cells.row = row
        for bell in bells[:self.cells.rows]:
            self.cells.bells[self.cells.bell_count] = bell
            self.cells.bell_count += 1

    def __repr__(self):
        return f"<Waiters row={self.cells.row} queues={self.queues} bells={self.cells.bell_count}>"

    cdef int check(self, int queue, int row) except -1:
        if not 0 <= queue < self.queues:
            raise IndexError(f"there is no queue {queue}; the segment has {self.queues}")
        if not 0 <= row < self.cells.rows:
            raise IndexError(f"there is no row {row}; the segment has {self.cells.rows}")
        return 0

    @property
    def bell(self):
        return self.cells.bells[self.cells.row] if self.cells.row < self.cells.bell_count else -1

    def publish(self, int queue, int rank, int64_t since_ns):
        self.check(queue, 0)
        waiter_publish(&self.cells, queue, waiter_key(rank, since_ns))

    def withdraw(self, int queue):
        self.check(queue, 0)
        waiter_publish(&self.cells, queue, 0)

    def best(self, int queue):
        self.check(queue, 0)
        cdef int row = waiter_best(&self.cells, queue, NOBODY, 0)
        return None if row == NOBODY else row

    def ring(self, int row):
        self.check(0, row)
        waiter_ring(&self.cells, row)

    def ring_all(self):
        """Cost: a write for each row in use."""
        cdef int row
        for row in range(<int>sp_waiter_rows(self.cells.rows_used)):
            if row != self.cells.row:
                waiter_ring(&self.cells, row)

    def clear_row(self, int row):
        """Only pages that were ever written are looked at."""
        cdef int64_t first, end, queue, stride = sizeof(int64_t) * self.cells.rows
        self.check(0, row)
        section = self.segment.sections.waiters
        for first, end in self.segment.touched(section.offset, section.end):
            end = min((end - section.offset + stride - 1) // stride, section.blocks)
            for queue in range((first - section.offset) // stride, end):
                if self.cells.base[queue * self.cells.rows + row] != 0:
                    sp_waiter_store(self.cells.base + queue * self.cells.rows + row, 0)

    def forget_bells(self):
        self.cells.bell_count = 0
