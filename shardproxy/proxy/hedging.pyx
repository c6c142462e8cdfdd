"""Asking a second endpoint when the first is slow (Dean and Barroso, The Tail at Scale, 2013: hedged requests).

    sent ──(no head within `after`; budget, endpoint)──> second try beside the first
                                                           │ a head comes      │ one of them fails
                                                           v                   v
                                     the other is reset, its place given back: one try goes on

The second try is an exchange of its own up to its response's head; nobody but its connection knows it.  When it wins, the
request's own exchange takes over its connection, its endpoint and its place, and goes on as if it had asked there.  Only
requests without a body that may be run twice (RFC 9110 §9.2.2) are hedged, once each, and not where an upgrade is asked for.

Cost: on a route with `hedge`, two objects and a timer of the loop for each such request; elsewhere, tests of a field.
"""

from libc.stdint cimport uint64_t

from shardproxy.http1.faults cimport Fault
from shardproxy.http1.framing cimport BODY_NONE, Framing
from shardproxy.http1.head cimport Head
from shardproxy.http1.names cimport is_idempotent
from shardproxy.shm.clock cimport now_ns
from shardproxy.shm.debug cimport HEDGES, born, gone
from shardproxy.shm.words cimport Words, word_load
from .boundary cimport cancel_timer, report
from .exchange cimport AWAITING_RESPONSE, OVER

cdef enum:
    MASK_BITS = 64
    NONE_CHOSEN = -1


cdef class HedgePolicy(HedgePlan):
    def __init__(self, dict budgets not None, int64_t timeout_ns, *, int64_t after_ns=0, Words words=None, dict told=None):
        if (after_ns == 0) == (words is None):
            raise ValueError("a hedge is after a time, or after what a word says")
        self.budgets = budgets
        self.after_ns, self.words, self.told = after_ns, words, told
        self.timeout_ns = timeout_ns

    cdef Hedger begin(self, object exchange):
        """Only the first try is hedged: one that follows, or stands beside it, has its Hedge already."""
        cdef Exchange asking = <Exchange>exchange
        cdef Hedge hedge
        cdef int64_t patience
        if asking.is_shadow or asking.framing.kind != BODY_NONE or not is_idempotent(asking.request.method):
            return None
        patience = self.patience_ns(asking.cluster.name)
        if patience == 0:
            return None
        hedge = Hedge.__new__(Hedge)
        hedge.policy = self
        hedge.first = asking
        hedge.since_ns = asking.sent_ns
        hedge.handle = asking.process.watcher.call_later(patience, hedge.ask_another)
        born(HEDGES)
        return hedge

    cdef int64_t patience_ns(self, str cluster) except -1:
        """0: it is not known yet."""
        return self.after_ns if self.words is None else word_load(self.words.word(self.told[cluster]))


cdef class Hedge(Hedger):

    def __repr__(self):
        return f"<Hedge second={self.second is not None}>"

    # What the exchanges say ----------------------------------------------------------------------------------------

    cdef bint head_came(self, object exchange, Head head, const Framing* framing) except -1:
        """The first head wins, whatever its status: what becomes of it, such as a retry, is decided as ever."""
        cdef Exchange first = self.first
        self.stop_waiting()
        if exchange is first:
            self.drop_second()
            return False
        first.tell_time(False)
        self.promote()
        first.response_head(first.origin, head, framing)
        return True

    cdef bint interim_came(self, object exchange) noexcept:
        """A 1xx of the first settles the matter; of the second it is not passed on, since it may still lose."""
        if exchange is not self.first:
            return True
        self.stop_waiting()
        self.drop_second()
        return False

    cdef bint try_failed(self, object exchange) noexcept:
        """One of two is left.  False: none is, so the exchange has failed."""
        self.stop_waiting()
        if exchange is not self.first:
            self.drop_second()
            return True
        if self.second is None or self.second.state == OVER or now_ns() >= self.deadline():
            self.drop_second()
            return False
        self.promote()
        return True

    cdef void end(self) noexcept:
        self.stop_waiting()
        self.drop_second()
        if self.first is not None:
            self.first = None
            gone(HEDGES)

    # Inside --------------------------------------------------------------------------------------------------------

    # boundary
    def ask_another(self):
        """The first has been slow.  Nobody is refused on account of a second try: without a free place there is none."""
        cdef int endpoint
        self.handle = None
        if self.first is None or not self.may_ask_another():
            return
        try:
            if not self.charge():
                return
            endpoint = self.another()
            if endpoint >= 0:
                self.ask_at(endpoint)
            else:
                self.discharge()
        except BaseException as error:
            report(error, self)
            self.drop_second()
            self.discharge()

    cdef bint may_ask_another(self) noexcept:
        """Not before those who wait for a place, and not if the first try is over already, or is an upgrade."""
        cdef Exchange first = self.first
        return (first.state == AWAITING_RESPONSE and first.additions.upgrade_len == 0
                and (first.cluster.queue is None or not first.cluster.queue.is_busy()))

    cdef int another(self) noexcept:
        """With its place taken; negative when there is none but those that were asked."""
        cdef Exchange first = self.first
        cdef uint64_t tried = 0 if first.retrier is None else first.retrier.tried
        cdef int endpoint
        if first.endpoint < MASK_BITS:
            tried |= <uint64_t>1 << first.endpoint
        endpoint = first.cluster.balancing.choose_except(tried)
        if endpoint == first.endpoint:
            first.cluster.balancing.release(endpoint)
            return NONE_CHOSEN
        return endpoint

    cdef int ask_at(self, int endpoint) except -1:
        """The endpoint's slot is taken already."""
        cdef Exchange second
        try:
            second = Exchange.__new__(Exchange)
        except BaseException:
            self.first.cluster.balancing.release(endpoint)
            raise
        self.second = second
        return second.begin_beside(self.first, self, endpoint)

    cdef void promote(self) noexcept:
        """The first exchange leaves its endpoint, and goes on at that of the second."""
        cdef Exchange first = self.first
        if first.retrier is not None and first.endpoint >= 0:
            first.retrier.note_tried(first.endpoint)
        first.take_over(self.second, self.deadline())
        self.drop_second()

    cdef void drop_second(self) noexcept:
        """It has lost, failed, or given all it had to the first."""
        cdef Exchange second = self.second
        if second is not None:
            self.second = None
            second.abandon()
            self.discharge()

    cdef int64_t deadline(self) noexcept:
        """Of the answer, whoever gives it: by the clock of the first try."""
        if self.first.retrier is not None:
            return self.first.retrier.answer_deadline(now_ns())
        return self.since_ns + self.policy.timeout_ns

    cdef bint charge(self) except -1:
        cdef RetryBudget budget = self.policy.budgets[self.first.cluster.name]
        if budget.reserve():
            self.charged = budget
        return self.charged is not None

    cdef void discharge(self) noexcept:
        if self.charged is not None:
            self.charged.give_back()
            self.charged = None

    cdef void stop_waiting(self) noexcept:
        cancel_timer(self.handle)
        self.handle = None
