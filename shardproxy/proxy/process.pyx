"""The worker's own things, in one place, so that a connection needs one pointer to all of them."""

import os
import time
from email.utils import formatdate

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from shardproxy.http1.faults import NAMES
from shardproxy.shm import names


cdef enum:
    NO_CLASS = 1 << 30


cdef class Process:
    def __init__(self, loop, Gauges gauges not None, Addresses addresses not None, Metrics metrics not None, counter,
                 histogram):
        self.loop = loop
        self.wheel = Wheel()
        self.watcher = Watch(loop)
        self.watcher.wheel = self.wheel
        self.scratch = Scratch()
        self.gauges = gauges
        self.gauge_cells = &gauges.cells
        self.addresses = addresses
        self.address_table = &addresses.table
        self.metrics = metrics
        self.cells = &metrics.cells
        self.clients = set()
        self.refused_from = NO_CLASS
        self.assign_slots(counter, histogram)
        seed = os.urandom(16)
        memcpy(self.random, <const char*>seed, 16)
        self.date_s = -1
        self.tick()

    cdef assign_slots(self, counter, histogram):
        self.slots.requests = counter(names.REQUESTS)
        self.slots.bytes_in = counter(names.BYTES_IN)
        self.slots.bytes_out = counter(names.BYTES_OUT)
        self.slots.client_aborts = counter(names.CLIENT_ABORTS)
        self.slots.strays = counter(names.STRAY_CALLBACKS)
        self.slots.request_time = histogram(names.REQUEST_TIME)
        classes = (names.RESPONSES_1XX, names.RESPONSES_1XX, names.RESPONSES_2XX, names.RESPONSES_3XX,
                   names.RESPONSES_4XX, names.RESPONSES_5XX)
        for i, name in enumerate(classes):
            self.slots.responses[i] = counter(name)
        for i, name in enumerate(NAMES):
            self.slots.faults[i] = counter(names.fault(name))

    def tick(self):
        """Serve the timeouts that are due, after a stall the sockets before them; renew the date when its second is
        over."""
        cdef int64_t now_s = <int64_t>time.time()
        if now_s != self.date_s:
            self.date_line = b"Date: %s\r\n" % formatdate(now_s, usegmt=True).encode()
            self.date_s = now_s
        if self.wheel.is_late():
            self.watcher.catch_up()
        self.wheel.advance()

    # hot
    cdef void write_request_id(self, char* out) noexcept:
        """A random id in the form of a UUID of version 4 (RFC 9562 §5.4); xoroshiro128+ (Blackman and Vigna 2018).

        It names a request in logs; it is no secret."""
        cdef uint64_t high = next_random(self.random)
        cdef uint64_t low = next_random(self.random)
        cdef int at = 0, i
        high = (high & <uint64_t>0xffffffffffff0fff) | <uint64_t>0x4000
        low = (low & <uint64_t>0x3fffffffffffffff) | <uint64_t>0x8000000000000000
        for i in range(16):
            if i == 8 or i == 12:
                out[at] = b'-'
                at += 1
            out[at] = hex_digit(high >> (60 - 4 * i))
            at += 1
        for i in range(16):
            if i == 0 or i == 4:
                out[at] = b'-'
                at += 1
            out[at] = hex_digit(low >> (60 - 4 * i))
            at += 1


cdef inline char hex_digit(uint64_t nibble) noexcept nogil:
    cdef const char* digits = b"0123456789abcdef"
    return digits[nibble & 15]


cdef inline uint64_t rotate(uint64_t x, int k) noexcept nogil:
    return (x << k) | (x >> (64 - k))


cdef inline uint64_t next_random(uint64_t* state) noexcept nogil:
    cdef uint64_t result = state[0] + state[1]
    state[1] ^= state[0]
    state[0] = rotate(state[0], 24) ^ state[1] ^ (state[1] << 16)
    state[1] = rotate(state[1], 37)
    return result
