"""Failures in a row, over all workers: Envoy's `consecutive_5xx` and `consecutive_gateway_failure`."""

from collections import namedtuple

from libc.stdlib cimport calloc, free

RunSlots = namedtuple("RunSlots", "errors gateway")


cdef class Runs:
    def __cinit__(self, Words words not None, endpoints, *, int64_t errors_limit, int64_t gateway_limit):
        cdef int i
        self.words = words
        self.count = len(endpoints)
        self.errors_limit, self.gateway_limit = errors_limit, gateway_limit
        self.runs = <Run*>calloc(max(self.count, 1), sizeof(Run))
        if self.runs == NULL:
            raise MemoryError
        for i in range(self.count):
            self.runs[i].errors = self.find(NO_RUN if endpoints[i].errors is None else endpoints[i].errors)
            self.runs[i].gateway = self.find(NO_RUN if endpoints[i].gateway is None else endpoints[i].gateway)

    def __dealloc__(self):
        free(self.runs)

    def __repr__(self):
        return f"<Runs endpoints={self.count} limits={self.errors_limit},{self.gateway_limit}>"

    cdef int64_t* find(self, int slot) except? NULL:
        return NULL if slot == NO_RUN else self.words.word(slot)

    # hot
    cdef void note(self, int index, int status) noexcept:
        """One more outcome at that endpoint.  `index` is not checked."""
        cdef Run* run = &self.runs[index]
        if status < 500:
            run_ends(run.errors, self.errors_limit)
            run_ends(run.gateway, self.gateway_limit)
            return
        run_on(run.errors)
        if 502 <= status <= 504:
            run_on(run.gateway)
        else:
            run_ends(run.gateway, self.gateway_limit)

    def take(self, int index, int status):
        if not 0 <= index < self.count:
            raise IndexError(f"there is no endpoint {index}")
        self.note(index, status)
