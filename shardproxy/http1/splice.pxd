# Writing a head onward: the fields that go on are copied in runs, what ends here is left out, ours is added.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from .forwarding cimport Belief
from .framing cimport Framing
from .grammar cimport text
from .head cimport Head

# One growing buffer per worker.  A head is built in it, made into one bytes object and written at once, so it is
# never in use over a loop turn.
#
# A piece for which there is no memory sets `failed`, and then the bytes in the buffer have a hole: whoever sends them
# asks first, once, and ends the message if it is set.  Only clear() and take() end the use of the buffer, whatever became
# of the message (sent, failed, dropped), and leave nothing to the next user: neither bytes nor `failed`.
cdef class Scratch:
    cdef char* start
    cdef Py_ssize_t size
    cdef Py_ssize_t capacity
    cdef bint failed            # since the last clear()

    cdef bint reserve(self, Py_ssize_t more) noexcept
    cdef void add(self, text p, Py_ssize_t n) noexcept
    cdef void add_bytes(self, bytes piece) noexcept
    cdef void add_decimal(self, int64_t number) noexcept
    cdef void add_hex(self, int64_t number) noexcept
    cdef bytes take(self)
    cdef void clear(self) noexcept

# What the proxy says to the origin about the request and who sent it.
cdef struct RequestAdditions:
    text peer               # the client's address, for X-Forwarded-For
    Py_ssize_t peer_len
    text client             # the client's address behind trusted proxies
    Py_ssize_t client_len
    text client_field       # the name of the field that says it; length 0 = none
    Py_ssize_t client_field_len
    Belief belief           # in what came in X-Forwarded-* and Forwarded
    bint forwarded          # tell of the client in Forwarded, too
    text scheme             # "http" or "https"
    Py_ssize_t scheme_len
    text request_id
    Py_ssize_t request_id_len
    text path               # in place of the head's, when it was normalised; length 0 = as it came
    Py_ssize_t path_len
    text upgrade            # the protocol that is asked for and allowed; length 0 = none
    Py_ssize_t upgrade_len
    text host               # in place of the request's; length 0 = as it came
    Py_ssize_t host_len
    text lines              # more fields, whole lines
    Py_ssize_t lines_len
    text fallback_host      # Host for a request that has none (HTTP/1.0)
    Py_ssize_t fallback_host_len

cdef void splice_trailers(Scratch out, text p, Py_ssize_t n) noexcept
cdef void splice_request(Scratch out, Head head, const Framing* framing, const RequestAdditions* additions,
                         bytes via) noexcept
cdef void splice_response(Scratch out, Head head, const Framing* framing, bytes connection, bytes date, bytes via) noexcept
