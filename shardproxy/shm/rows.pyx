"""What each process says about itself: pid, generation, kind, state and heartbeat."""

from enum import IntEnum

from shardproxy.shm.clock cimport now_ns
from shardproxy.shm.mapping cimport address

cdef extern from *:
    """
    #define sp_row_read(cell) __atomic_load_n(cell, __ATOMIC_ACQUIRE)
    #define sp_row_write(cell, value) __atomic_store_n(cell, value, __ATOMIC_RELEASE)
    """
    int64_t read64 "sp_row_read"(const int64_t* cell) noexcept nogil
    int32_t read32 "sp_row_read"(const int32_t* cell) noexcept nogil
    void write64 "sp_row_write"(int64_t* cell, int64_t value) noexcept nogil
    void write32 "sp_row_write"(int32_t* cell, int32_t value) noexcept nogil


class State(IntEnum):
    GONE = 0
    STARTING = 1
    READY = 2
    DRAINING = 3


class Kind(IntEnum):
    WORKER = 0
    CONTROLLER = 1
    SUPERVISOR = 2


cdef class Rows:
    def __init__(self, segment):
        self.segment = segment
        self.part = segment.part(segment.sections.rows)
        self.base = address(self.part)
        self.rows = segment.capacities.rows

    def __repr__(self):
        living = ", ".join(
            f"{row}: {self.kind(row).name} {self.pid(row)} {self.state(row).name}"
            for row in range(self.segment.rows_used)
            if self.state(row) is not State.GONE
        )
        return f"<Rows {living or 'empty'}>"

    cdef Row* at(self, int row) except NULL:
        if not 0 <= row < self.rows:
            raise IndexError(f"there is no row {row}; the segment has {self.rows}")
        return <Row*>(self.base + <Py_ssize_t>row * 128)

    def claim(self, int row, int64_t pid, int64_t generation, kind, int64_t requests_before=0):
        cdef Row* cells = self.at(row)
        if cells.pid not in (0, pid):
            raise ValueError(f"row {row} still belongs to process {cells.pid}")
        if row >= self.segment.rows_used:  # written only if it must be: a child that claims is not the one writer
            self.segment.rows_used = row + 1
        write64(&cells.generation, generation)
        write32(&cells.kind, Kind(kind))
        write64(&cells.requests_before, requests_before)
        write64(&cells.heartbeat_ns, now_ns())
        write64(&cells.pid, pid)
        write32(&cells.state, State.STARTING)

    def release(self, int row):
        cdef Row* cells = self.at(row)
        write32(&cells.state, State.GONE)
        write64(&cells.pid, 0)
        write64(&cells.heartbeat_ns, 0)

    def set_state(self, int row, state):
        write32(&self.at(row).state, State(state))

    def beat(self, int row, int64_t now_ns):
        write64(&self.at(row).heartbeat_ns, now_ns)

    def heartbeat(self, int row):
        return read64(&self.at(row).heartbeat_ns)

    def requests_before(self, int row):
        return read64(&self.at(row).requests_before)

    def pid(self, int row):
        return read64(&self.at(row).pid)

    def state(self, int row):
        return State(read32(&self.at(row).state))

    def generation(self, int row):
        return read64(&self.at(row).generation)

    def kind(self, int row):
        return Kind(read32(&self.at(row).kind))
