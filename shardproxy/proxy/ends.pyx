"""The interfaces of ends.pxd; what is not implemented does nothing."""


cdef class End(Receiver):
    cdef int send_head(self, Head head, const Framing* framing) except -1:
        return 0

    cdef void send_body(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
        pass

    cdef int keep_trailers(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1:
        return 0

    cdef void finish(self) noexcept:
        pass

    cdef void open_tunnel(self) noexcept:
        pass

    cdef void half_close(self) noexcept:
        pass

    cdef void flush(self) noexcept:
        pass

    cdef void send_interim(self, Head head) noexcept:
        pass

    cdef void reply(self, int fault, int64_t retry_after_s) noexcept:
        pass

    cdef void answer(self, bytes head, bytes body) noexcept:
        pass

    cdef int read_on(self) except -1:
        return 0

    cdef bytes announce(self, int version):
        return b""

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


cdef class Source:
    cdef End take(self, object exchange, int* fault):
        return None

    cdef End connect(self, object exchange, int* fault):
        return None

    cdef void give_back(self, End end) noexcept:
        pass

    cdef void forget(self, End end) noexcept:
        pass

    cdef bytes greeting(self, object exchange):
        return None


cdef class Retrier:
    cdef void keep(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
        pass

    cdef void request_ended(self) noexcept:
        pass

    cdef int64_t answer_deadline(self, int64_t now) noexcept:
        return 0

    cdef bint after_fault(self, int fault) except -1:
        return False

    cdef bint after_head(self, Head head) except -1:
        return False

    cdef void note_tried(self, int endpoint) noexcept:
        pass

    cdef void settle(self) noexcept:
        pass

    cdef void end(self) noexcept:
        pass


cdef class WaitingRoom(Timed):
    cdef bint is_busy(self) noexcept:
        return False

    cdef bint enter(self, object exchange) except -1:
        return False

    cdef void beg(self) noexcept:
        pass

    cdef void leave(self, object place) noexcept:
        pass

    cdef void freed(self, object exchange) noexcept:
        pass

    cdef void connection_ended(self) noexcept:
        pass

    cdef int attach(self, object cluster) except -1:
        return 0


cdef class RetryPlan:
    cdef Retrier begin(self, object exchange):
        return None


cdef class Hedger:
    cdef bint head_came(self, object exchange, Head head, const Framing* framing) except -1:
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


cdef class Hashing:
    cdef int pick(self, object exchange) except? -2:
        return -1


cdef class Gate:
    cdef bint admit(self, object exchange) except -1:
        return True

    cdef void leave(self, object exchange) noexcept:
        pass


cdef class Pace(Timed):
    cdef bint hold(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1:
        return False

    cdef bint hold_end(self, bint is_half) noexcept:
        return False

    cdef bint holds(self) noexcept:
        return False

    cdef bint go_on(self) except -1:
        return True

    cdef void end(self) noexcept:
        pass


cdef class PacePlan:
    cdef int begin(self, object exchange) except -1:
        return 0

    cdef void leave(self, object exchange) noexcept:
        pass


cdef class Journal(Timed):
    cdef void note(self, object exchange, int fault) noexcept:
        pass

    cdef void note_refusal(self, bytes peer, int fault) noexcept:
        pass


cdef class Action:
    cdef bint begin(self, object exchange) except -1:
        return True

    cdef int edit_request(self, object exchange) except -1:
        return 0

    cdef int edit_response(self, object exchange, Head head) except -1:
        return 0


cdef class Copy:
    cdef void keep(self, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
        pass

    cdef void complete(self) noexcept:
        pass

    cdef void forget(self) noexcept:
        pass
