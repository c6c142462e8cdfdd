# What all connections of one worker process share: its cells, its wheel, its scratch buffer, its sense of the date.
from libc.stdint cimport int64_t, uint64_t

from shardproxy.http1.faults cimport Fault
from shardproxy.http1.splice cimport Scratch
from shardproxy.shm.addresses cimport AddressTable, Addresses
from shardproxy.shm.gauges cimport GaugeCells, Gauges
from shardproxy.shm.metrics cimport MetricCells, Metrics
from .ends cimport End
from .timers cimport Wheel
from .watching cimport Watch

cdef enum:
    REQUEST_ID_LENGTH = 36

cdef struct CounterSlots:
    int requests
    int[6] responses            # by status // 100
    int bytes_in
    int bytes_out
    int request_time            # histogram
    int client_aborts
    int strays
    int[64] faults              # by Fault

cdef class Process:
    cdef readonly object loop
    cdef readonly Wheel wheel
    cdef readonly Watch watcher # of sockets
    cdef Scratch scratch
    cdef End corked             # whose bytes the scratch buffer holds
    cdef readonly Gauges gauges
    cdef GaugeCells* gauge_cells
    cdef Addresses addresses
    cdef AddressTable* address_table
    cdef Metrics metrics
    cdef MetricCells* cells
    cdef CounterSlots slots
    cdef uint64_t[2] random
    cdef bytes date_line        # "Date: ...\r\n"
    cdef int64_t date_s
    cdef public bint is_draining
    cdef public bint stops_keep_alive   # each response says that its connection ends
    cdef public int refused_from        # the class from which on requests are refused, for overload; none has that number
    cdef readonly set clients   # connections that are open: for drain

    cdef assign_slots(self, counter, histogram)
    cdef void write_request_id(self, char* out) noexcept
