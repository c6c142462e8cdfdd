"""The interfaces of ends.pxd; what is not implemented does nothing."""


cdef class End(Receiver):
    cdef void send_head(self, Head head, const Framing* framing) noexcept:
        pass

    cdef void send_body(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
        pass

    cdef void keep_trailers(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
        pass

    cdef void finish(self) noexcept:
        pass

    cdef void open_tunnel(self) noexcept:
        pass

    cdef void half_close(self) noexcept:
        pass

    cdef void flush(self) noexcept:
        pass

    cdef void pause(self) noexcept:
        pass

    cdef void resume(self) noexcept:
        pass

    cdef bint makes_progress(self) noexcept:
        return False

    cdef void reset(self, int fault) noexcept:
        pass

    cdef void release(self) noexcept:
        pass

    cdef void change_exchange(self, object exchange, int64_t deadline) noexcept:
        pass

    cdef void send_interim(self, Head head) noexcept:
        pass

    cdef void reply(self, int fault, int64_t retry_after_s) noexcept:
        pass

    cdef void answer(self, bytes head, bytes body) noexcept:
        pass

    cdef bytes announce(self, int version):
        return b""


cdef class Source:
    cdef End take(self, object exchange):
        return None

    cdef End connect(self, object exchange):
        return None

    cdef bytes greeting(self, object exchange):
        return None

    cdef void give_back(self, End end) noexcept:
        pass

    cdef void forget(self, End end) noexcept:
        pass


cdef class Retrier:
    cdef void keep(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
        pass

    cdef void request_ended(self) noexcept:
        pass

    cdef int64_t answer_deadline(self, int64_t now) noexcept:
        return 0

    cdef bint after_fault(self, int fault) noexcept:
        return False

    cdef bint after_head(self, Head head) noexcept:
        return False

    cdef void settle(self) noexcept:
        pass

    cdef void end(self) noexcept:
        pass


cdef class Hedger:
    cdef bint head_came(self, object exchange, Head head, const Framing* framing) noexcept:
        return False

    cdef bint interim_came(self, object exchange) noexcept:
        return False

    cdef bint try_failed(self, object exchange) noexcept:
        return False

    cdef void end(self) noexcept:
        pass


cdef class HedgePlan:
    cdef Hedger begin(self, object exchange):
        return None


cdef class WaitingRoom(Timed):
    cdef bint is_busy(self) noexcept:
        return False

    cdef bint enter(self, object exchange) noexcept:
        return False

    cdef bint enter_again(self, object exchange) noexcept:
        return False

    cdef void leave(self, object place) noexcept:
        pass

    cdef void freed(self, object exchange) noexcept:
        pass

    cdef void beg(self) noexcept:
        pass

    cdef void connection_ended(self) noexcept:
        pass

    cdef void attach(self, object cluster) noexcept:
        pass


cdef class RetryPlan:
    cdef Retrier begin(self, object exchange):
        return None


cdef class Hashing:
    cdef int pick(self, object exchange) noexcept:
        return -1


cdef class Gate:
    cdef bint admit(self, object exchange) noexcept:
        return True

    cdef void leave(self, object exchange) noexcept:
        pass


cdef class Pace(Timed):
    cdef bint hold(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
        return False

    cdef bint hold_end(self, bint is_half) noexcept:
        return False

    cdef bint holds(self) noexcept:
        return False

    cdef bint go_on(self) noexcept:
        return True

    cdef void end(self) noexcept:
        pass


cdef class PacePlan:
    cdef void begin(self, object exchange) noexcept:
        pass

    cdef void leave(self, object exchange) noexcept:
        pass


cdef class Journal(Timed):
    cdef void note(self, object exchange, int fault) noexcept:
        pass

    cdef void note_refusal(self, bytes peer, int fault) noexcept:
        pass


cdef class Action:
    cdef bint begin(self, object exchange) noexcept:
        return True

    cdef void edit_request(self, object exchange) noexcept:
        pass

    cdef void edit_response(self, object exchange, Head head) noexcept:
        pass


cdef class Copy:
    cdef void keep(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
        pass

    cdef void complete(self) noexcept:
        pass

    cdef void forget(self) noexcept:
        pass
