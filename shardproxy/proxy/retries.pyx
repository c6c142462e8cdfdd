"""Trying again: a policy per route, a budget per cluster over all workers, and what one exchange has to remember.

    try ──(fault or status that `on` names)──> back-off ──> another endpoint ──> try
                  │ attempts, budget, time or body used up        │ client gone, time up
                  v                                               v
          the last reason goes to the client                     end()

Words, formulas and defaults are Envoy's (route_components.proto RetryPolicy, retry_state_impl.cc, resource_manager_impl.h).
As there, the method does not matter: what `on` names is tried again for POST as for GET.  `connect-failure` and `refused`
are only said before a byte was sent, so they are safe for every request; the others may run a request twice.
"""

import random

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport uint64_t

from shardproxy.http1.faults import NAMES

from shardproxy.http1.faults cimport Fault
from shardproxy.http1.head cimport Head
from shardproxy.http1.values cimport field_value
from shardproxy.shm.clock cimport now_ns
from shardproxy.shm.gauges cimport gauge_add, gauge_reserve, gauge_total
from shardproxy.shm.debug cimport RETRIES, born, gone
from shardproxy.shm.metrics cimport count
from .boundary cimport cancel_timer, report
from .exchange cimport AWAITING_ORIGIN, BACKING_OFF, QUEUED, RESPONDING, Exchange
from .runtime cimport UNLIMITED

cdef enum:
    MASK_BITS = 64
    MAX_DOUBLINGS = 20          # beyond, every back-off is at its cap

# Envoy counts a reset as the 5xx it will become, and a connection that cannot be had as a reset.
UNREACHED = ("connect_failed", "connect_timeout")
RESET = (*UNREACHED, "upstream_gone", "stale_connection", "bad_response", "response_timeout")
CONDITIONS = {  # word of `on` -> faults, statuses
    "connect-failure": (UNREACHED, ()),
    "refused": (("connect_failed",), ()),
    "reset": (RESET, ()),
    "gateway-error": (RESET, (502, 503, 504)),
    "5xx": (RESET, tuple(range(500, 600))),
    "retriable-headers": ((), ()),
}


cdef class RetryBudget:
    def __init__(self, Gauges gauges not None, Metrics metrics not None, active, *, int percent, int min_concurrency,
                 int retries, int granted, int refused, max_retries=None):
        self.gauges = gauges
        self.metrics = metrics
        self.active_count = len(active)
        self.active = <int*>PyMem_Malloc(max(1, self.active_count) * sizeof(int))
        if self.active == NULL:
            raise MemoryError
        for i, slot in enumerate(active):
            self.active[i] = slot
        self.percent = percent
        self.min_concurrency = min_concurrency
        self.max_retries = UNLIMITED if max_retries is None else max_retries
        self.retries = retries
        self.granted = granted
        self.refused = refused

    def __dealloc__(self):
        PyMem_Free(self.active)

    cdef int64_t cap(self) noexcept:
        """max(min_concurrency, percent of the requests that are under way), and no more than max_retries, over all
        workers.  Cost: one look at every endpoint's count."""
        cdef int64_t active = 0, cap
        cdef int i
        for i in range(self.active_count):
            active += gauge_total(&self.gauges.cells, self.active[i])
        cap = max(<int64_t>self.min_concurrency, active * self.percent // 100)
        return cap if self.max_retries == UNLIMITED else min(cap, self.max_retries)

    cdef bint reserve(self) noexcept:
        if gauge_reserve(&self.gauges.cells, self.retries, self.cap()):
            count(&self.metrics.cells, self.granted, 1)
            return True
        count(&self.metrics.cells, self.refused, 1)
        return False

    cdef void give_back(self) noexcept:
        gauge_add(&self.gauges.cells, self.retries, -1)

    @property
    def limit(self):
        return self.cap()

    def take(self):
        return bool(self.reserve())

    def give(self):
        self.give_back()


cdef class RetryPolicy(RetryPlan):
    def __init__(self, RetryBudget budget, on, *, statuses=(), headers=(), int attempts, int64_t timeout_ns,
                 int64_t per_try_ns, int64_t base_ns, int64_t max_ns, Py_ssize_t max_body, dict budgets=None):
        self.budget, self.budgets = budget, budgets
        self.attempts = attempts
        self.timeout_ns = timeout_ns
        self.per_try_ns = per_try_ns
        self.base_ns = base_ns
        self.max_ns = max_ns
        self.max_body = max_body
        self.fields = tuple([name.lower().encode() for name in headers]) or None
        for word in on:
            faults, named = ((), statuses) if word == "retriable-status" else CONDITIONS[word]
            for fault in faults:
                self.faults[<int>NAMES.index(fault)] = True
            for status in named:
                if not 0 <= status < STATUSES:
                    raise ValueError(f"{status} is no status")
                self.statuses[<int>status] = True

    cdef Retrier begin(self, object exchange):
        cdef Retries retries = Retries.__new__(Retries)
        retries.policy = self
        retries.exchange = exchange
        retries.budget = self.budget
        born(RETRIES)
        if self.budgets is not None:
            retries.budget = self.budgets[(<Exchange>exchange).cluster.name]
        if (<Exchange>exchange).is_request_done:
            retries.deadline_ns = (<Exchange>exchange).started_ns + self.timeout_ns
        return retries

    cdef bint wants_another(self, Head head) noexcept:
        """Cost: one look at a table; and a look at each field for every name of `headers`."""
        cdef Py_ssize_t i
        cdef PyObject* name
        if 0 <= head.status < STATUSES and self.statuses[head.status]:
            return True
        if self.fields is not None:
            for i in range(PyTuple_GET_SIZE(self.fields)):
                name = <PyObject*>PyTuple_GET_ITEM(self.fields, i)
                if field_value(head, PyBytes_AS_STRING(<bytes>name), PyBytes_GET_SIZE(<bytes>name)).p != NULL:
                    return True
        return False

    cdef int64_t pause_ns(self, int number, double draw) noexcept:
        """Before the `number`-th retry: full jitter in [0, (2^number - 1) * base), at most max; `draw` is from [0, 1)."""
        cdef int64_t factor = (<int64_t>1 << min(number, MAX_DOUBLINGS)) - 1
        return <int64_t>(draw * min(factor * <double>self.base_ns, <double>self.max_ns))

    def backoff_ns(self, int number, double draw):
        return self.pause_ns(number, draw)

    def retries_fault(self, int fault):
        return 0 <= fault < Fault.FAULTS and bool(self.faults[fault])

    def retries_status(self, int status):
        return 0 <= status < STATUSES and bool(self.statuses[status])


cdef class Retries(Retrier):

    def __repr__(self):
        return f"<Retries {self.tries} of {self.policy.attempts}>"

    # What the exchange says ----------------------------------------------------------------------------------------

    # boundary
    cdef void keep(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
        """A piece of the body leaves.  More than `max_body` cannot be sent again, so there will be no further try."""
        if self.is_last or self.tries == self.policy.attempts:
            return
        try:
            if self.kept is None:
                self.kept = bytearray()
            self.is_last = len(self.kept) + size > self.policy.max_body
            if not self.is_last:
                self.kept += data[at:at + size]
        except BaseException as error:
            report(error, self)
            self.is_last = True     # without memory for it there is no further try, and the request goes on
        if self.is_last:
            self.kept = None

    cdef void request_ended(self) noexcept:
        self.deadline_ns = now_ns() + self.policy.timeout_ns

    cdef int64_t answer_deadline(self, int64_t now) noexcept:
        """Of this try: per_try_timeout from here, and the route's timeout for all of them."""
        cdef int64_t deadline = self.deadline_ns or now + self.policy.timeout_ns
        return min(deadline, now + self.policy.per_try_ns) if self.policy.per_try_ns else deadline

    cdef void note_tried(self, int endpoint) noexcept:
        if endpoint < MASK_BITS:
            self.tried |= <uint64_t>1 << endpoint

    cdef bint after_fault(self, int fault) except -1:
        return self.policy.faults[fault] and self.try_later()

    cdef bint after_head(self, Head head) except -1:
        """False: this response is the answer."""
        if self.policy.wants_another(head) and self.try_later():
            return True
        self.settle()
        return False

    cdef void settle(self) noexcept:
        """Something of an answer goes to the client.  A 100 counts: as in Envoy, nobody knows what the next would say."""
        self.is_last = True
        self.kept = None
        self.discharge()

    cdef void end(self) noexcept:
        self.settle()
        self.stop_waiting()
        if self.exchange is not None:
            self.exchange = None
            gone(RETRIES)

    # Inside --------------------------------------------------------------------------------------------------------

    cdef bint try_later(self) except -1:
        """Back off, then try again; false when nothing is left of attempts, time or budget, or of the body.

        A retry is under way, and charged, from here until its own end: the back-off is part of it."""
        cdef Exchange exchange = <Exchange>self.exchange
        cdef int64_t wait_ns = self.policy.pause_ns(self.tries + 1, random.random())
        self.stop_waiting()
        self.discharge()
        if self.is_last or exchange.state >= RESPONDING or self.tries == self.policy.attempts:
            return False
        if self.deadline_ns and now_ns() + wait_ns >= self.deadline_ns:
            return False
        if not self.budget.reserve():
            return False
        self.is_charged = True
        self.tries += 1
        self.note_tried(exchange.endpoint)
        self.rewind()
        self.handle = exchange.process.watcher.call_later(wait_ns, self.try_again)
        exchange.back_off()     # last, since what comes before it may raise
        return True

    cdef int rewind(self) except -1:
        """What was sent of the body is to be sent again, before what came since."""
        if self.kept is not None:
            (<Exchange>self.exchange).rewind((bytes(self.kept), 0, len(self.kept)))
            self.kept = None
        return 0

    # boundary
    def try_again(self):
        """The back-off is over: another endpoint than those before, if one can take it; it may have to wait for that."""
        cdef Exchange exchange = <Exchange>self.exchange
        self.handle = None
        if exchange is None or exchange.state != BACKING_OFF:
            return
        try:
            if self.deadline_ns:
                wait_s = max(0, self.deadline_ns - now_ns()) / 1e9
                self.handle = exchange.process.loop.call_later(wait_s, self.give_up_connecting)
            exchange.choose_origin()
            exchange.flush_origin()
        except BaseException as error:
            exchange.crash(report(error, self))

    def give_up_connecting(self):
        """The route's time is up.  Once there is a connection, the wait for its answer has a deadline of its own."""
        cdef Exchange exchange = <Exchange>self.exchange
        self.handle = None
        if exchange is not None and (exchange.state == QUEUED or exchange.state == AWAITING_ORIGIN):
            exchange.refuse(Fault.RESPONSE_TIMEOUT, 0)

    cdef void discharge(self) noexcept:
        if self.is_charged:
            self.is_charged = False
            self.budget.give_back()

    cdef void stop_waiting(self) noexcept:
        cancel_timer(self.handle)
        self.handle = None
