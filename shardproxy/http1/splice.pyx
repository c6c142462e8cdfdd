"""Heads written onward in one pass over their fields, without a Python object per field."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcpy

from .forwarding cimport BELIEF_NONE_ASKED, BELIEF_REPLACED, BELIEF_TRUSTED
from .framing cimport BODY_CHUNKED, BODY_NONE, Framing
from .grammar cimport ZERO, sp_same, text
from .head cimport Field, Head
from .names cimport *

cdef enum:
    KEEP_CAPACITY = 1 << 18     # what a larger message left behind is given back


cdef class Scratch:

    def __dealloc__(self):
        free(self.start)

    # hot
    cdef bint reserve(self, Py_ssize_t more) noexcept:
        cdef Py_ssize_t capacity
        cdef char* start
        if self.size + more <= self.capacity:
            return True
        capacity = max(self.capacity * 2, self.size + more, 4096)
        start = <char*>realloc(self.start, capacity)
        if start == NULL:
            self.failed = True
            return False
        self.start = start
        self.capacity = capacity
        return True

    # hot
    cdef void add(self, text p, Py_ssize_t n) noexcept:
        if self.reserve(n):
            memcpy(self.start + self.size, p, n)
            self.size += n

    cdef void add_bytes(self, bytes piece) noexcept:
        self.add(PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))

    cdef void add_decimal(self, int64_t number) noexcept:
        cdef char digits[20]
        cdef int at = 20
        while True:
            at -= 1
            digits[at] = <char>(ZERO + number % 10)
            number //= 10
            if number == 0:
                break
        self.add(&digits[at], 20 - at)

    cdef void add_hex(self, int64_t number) noexcept:
        cdef const char* hex_digits = b"0123456789abcdef"
        cdef char digits[16]
        cdef int at = 16
        while True:
            at -= 1
            digits[at] = hex_digits[number & 15]
            number >>= 4
            if number == 0:
                break
        self.add(&digits[at], 16 - at)

    cdef bytes take(self):
        """What was built, as one bytes object; raises MemoryError if it did not fit.  Empty afterwards, either way."""
        try:
            if self.failed:
                raise MemoryError
            return PyBytes_FromStringAndSize(self.start, self.size)
        finally:
            self.clear()

    cdef void clear(self) noexcept:
        """Empty, and not kept when it has grown large."""
        self.size = 0
        self.failed = False
        if self.capacity > KEEP_CAPACITY:
            free(self.start)
            self.start = NULL
            self.capacity = 0


cdef inline bint is_ours(int kind) noexcept nogil:
    """Request fields that the proxy writes itself, whatever the client said."""
    return (kind == FIELD_X_FORWARDED_FOR or kind == FIELD_X_FORWARDED_PROTO or kind == FIELD_X_FORWARDED_HOST
            or kind == FIELD_X_REQUEST_ID or kind == FIELD_HOST)


# hot
cdef void splice_request(Scratch out, Head head, const Framing* framing, const RequestAdditions* additions,
                         bytes via) noexcept:
    """The request for the next hop: HTTP/1.1, origin-form, Host first, hop-by-hop fields cut, ours at the end.

    Cost: one copy of the head.  `additions` tell of the client; `via` is a whole field line or empty.
    """
    add_request_line(out, head, additions)
    out.add(b"Host: ", 6)
    if additions.host_len:
        out.add(additions.host, additions.host_len)
    elif head.host_len:
        out.add(head.base + head.host, head.host_len)
    else:
        out.add(additions.fallback_host, additions.fallback_host_len)
    out.add(b"\r\n", 2)
    copy_fields(out, head, True)
    if framing.kind == BODY_CHUNKED:
        out.add(b"Transfer-Encoding: chunked\r\n", 28)
    if additions.upgrade_len:
        out.add(b"Connection: upgrade\r\nUpgrade: ", 30)
        out.add(additions.upgrade, additions.upgrade_len)
        out.add(b"\r\n", 2)
    elif head.wants_trailers:
        out.add(b"TE: trailers\r\nConnection: TE\r\n", 30)
    add_forwarding(out, head, additions)
    out.add(b"X-Request-Id: ", 14)
    out.add(additions.request_id, additions.request_id_len)
    out.add(b"\r\n", 2)
    out.add_bytes(via)
    if additions.lines_len:
        out.add(additions.lines, additions.lines_len)
    out.add(b"\r\n", 2)


# hot
cdef void add_forwarding(Scratch out, Head head, const RequestAdditions* additions) noexcept:
    """X-Forwarded-*: our entry behind those that came, unless a stranger wrote them; a trusted proxy knows better than
    we which scheme and host the client used."""
    cdef const Field* said
    out.add(b"X-Forwarded-For: ", 17)
    if additions.belief != BELIEF_REPLACED and head.has(FIELD_X_FORWARDED_FOR):
        add_values(out, head, FIELD_X_FORWARDED_FOR)
    out.add(additions.peer, additions.peer_len)
    said = head.find(FIELD_X_FORWARDED_PROTO) if additions.belief == BELIEF_TRUSTED else NULL
    if said != NULL:
        add_line(out, b"\r\nX-Forwarded-Proto: ", 21, head.base + said.value, said.value_len)
    else:
        add_line(out, b"\r\nX-Forwarded-Proto: ", 21, additions.scheme, additions.scheme_len)
    said = head.find(FIELD_X_FORWARDED_HOST) if additions.belief == BELIEF_TRUSTED else NULL
    if said != NULL:
        add_line(out, b"X-Forwarded-Host: ", 18, head.base + said.value, said.value_len)
    elif head.host_len:
        add_line(out, b"X-Forwarded-Host: ", 18, head.base + head.host, head.host_len)
    if additions.forwarded:
        add_forwarded(out, head, additions)
    if additions.client_field_len:
        out.add(additions.client_field, additions.client_field_len)
        add_line(out, b": ", 2, additions.client, additions.client_len)


# hot
cdef void add_line(Scratch out, text name, Py_ssize_t name_len, text value, Py_ssize_t value_len) noexcept:
    """`name` with its colon; the value; the end of the line."""
    out.add(name, name_len)
    out.add(value, value_len)
    out.add(b"\r\n", 2)


cdef void add_forwarded(Scratch out, Head head, const RequestAdditions* additions) noexcept:
    """Forwarded (RFC 7239): who the peer was, for which host and by which scheme, behind what a trusted proxy wrote."""
    cdef bint is_ipv6 = memchr(additions.peer, b':', additions.peer_len) != NULL
    out.add(b"Forwarded: ", 11)
    if additions.belief != BELIEF_REPLACED and head.has(FIELD_FORWARDED):
        add_values(out, head, FIELD_FORWARDED)
    out.add(b'for="[', 6 if is_ipv6 else 4)
    out.add(additions.peer, additions.peer_len)
    if is_ipv6:
        out.add(b']"', 2)
    if head.host_len:
        out.add(b';host="', 7)
        out.add(head.base + head.host, head.host_len)
        out.add(b'"', 1)
    add_line(out, b";proto=", 7, additions.scheme, additions.scheme_len)


# hot
cdef void add_request_line(Scratch out, Head head, const RequestAdditions* additions) noexcept:
    cdef uint32_t target_end = head.target + head.target_len
    out.add(head.base, head.method_len)
    out.add(b" ", 1)
    if additions.path_len:
        out.add(additions.path, additions.path_len)
        out.add(head.base + head.path + head.path_len, target_end - head.path - head.path_len)
    elif not head.is_absolute:
        out.add(head.base + head.target, head.target_len)
    elif head.path == target_end and head.method == METHOD_OPTIONS:
        out.add(b"*", 1)
    else:
        if head.path_len == 0:
            out.add(b"/", 1)
        out.add(head.base + head.path, target_end - head.path)
    out.add(b" HTTP/1.1\r\n", 11)


# hot
cdef void copy_fields(Scratch out, Head head, bint is_request) noexcept:
    """Copy the field lines that go on; neighbours in one piece."""
    cdef uint32_t i
    cdef const Field* field
    cdef uint32_t run = head.fields_at
    for i in range(head.count):
        field = &head.fields[i]
        if field.hop or (is_request and is_ours(field.kind)):
            out.add(head.base + run, field.name - run)
            run = field.line_end
    out.add(head.base + run, head.size - 2 - run)


cdef void add_values(Scratch out, Head head, FieldKind kind) noexcept:
    """All values of a field as one list, with a comma at the end (RFC 9110 §5.3)."""
    cdef uint32_t i
    for i in range(head.count):
        if head.fields[i].kind == <int>kind and head.fields[i].value_len:
            out.add(head.base + head.fields[i].value, head.fields[i].value_len)
            out.add(b", ", 2)


# hot
cdef void splice_response(Scratch out, Head head, const Framing* framing, bytes connection, bytes date,
                          bytes via) noexcept:
    """The response for the client: our version, hop-by-hop fields cut, Date added when the origin gave none.

    `connection`, `date` and `via` are whole field lines or empty.
    """
    out.add(b"HTTP/1.1", 8)
    out.add(head.base + 8, 4)
    if head.base[12] == b'\r':
        out.add(b" ", 1)    # the space goes out even when the reason is empty and the origin left it away (RFC 9112 §4)
    out.add(head.base + 12, head.fields_at - 12)
    copy_fields(out, head, False)
    if framing.kind == BODY_CHUNKED:
        out.add(b"Transfer-Encoding: chunked\r\n", 28)
    if not head.has(FIELD_DATE):
        out.add_bytes(date)
    out.add_bytes(via)
    out.add_bytes(connection)
    out.add(b"\r\n", 2)


cdef void splice_trailers(Scratch out, text p, Py_ssize_t n) noexcept:
    """The field lines of a trailer section that may go on; its empty line is left to the caller.

    What frames, routes, or describes the content has no business behind it (RFC 9110 §6.5.1)."""
    cdef text end = p + n
    cdef text line
    cdef text colon
    while p < end and p[0] != b'\r':
        line = p
        colon = <text>memchr(line, b':', end - line)
        p = <text>memchr(line, b'\n', end - line)
        if colon == NULL or p == NULL:
            return
        p += 1
        if classify(line, colon - line) == FIELD_OTHER and not describes_content(line, colon - line):
            out.add(line, p - line)


cdef bint describes_content(text name, Py_ssize_t n) noexcept:
    return ((n > 8 and sp_same(name, b"content-", 8)) or (n == 10 and sp_same(name, b"set-cookie", 10))
            or (n == 13 and sp_same(name, b"authorization", 13)) or (n == 13 and sp_same(name, b"cache-control", 13))
            or (n == 8 and sp_same(name, b"location", 8)) or (n == 16 and sp_same(name, b"www-authenticate", 16)))


# For tests ---------------------------------------------------------------------------------------------------------

BELIEFS = {"none asked": BELIEF_NONE_ASKED, "trusted": BELIEF_TRUSTED, "replaced": BELIEF_REPLACED}


def forwarded_request(Head head not None, *, bytes peer=b"192.0.2.1", bytes request_id=b"id", bytes via=b"",
                      bytes upgrade=b"", bytes path=b"", bint chunked=False, str belief="none asked",
                      bint forwarded=False, bytes client_field=b"", bytes client=b"", Scratch scratch=None):
    """The request as it goes on to an origin that is called `origin.test`."""
    cdef Scratch out = Scratch() if scratch is None else scratch
    cdef RequestAdditions additions
    cdef Framing framing = Framing(kind=BODY_CHUNKED if chunked else BODY_NONE, length=0)
    additions.peer, additions.peer_len = peer, len(peer)
    additions.client, additions.client_len = client, len(client)
    additions.client_field, additions.client_field_len = client_field, len(client_field)
    additions.belief = BELIEFS[belief]
    additions.forwarded = forwarded
    additions.scheme, additions.scheme_len = b"http", 4
    additions.request_id, additions.request_id_len = request_id, len(request_id)
    additions.upgrade, additions.upgrade_len = upgrade, len(upgrade)
    additions.path, additions.path_len = path, len(path)
    additions.host_len = additions.lines_len = 0
    additions.fallback_host, additions.fallback_host_len = b"origin.test", 11
    splice_request(out, head, &framing, &additions, via)
    return out.take()


def forwarded_response(Head head not None, *, bytes connection=b"", bytes date=b"Date: D\r\n", bytes via=b"",
                       bint chunked=False):
    """The response as it goes on to the client."""
    cdef Scratch out = Scratch()
    cdef Framing framing = Framing(kind=BODY_CHUNKED if chunked else BODY_NONE, length=0)
    splice_response(out, head, &framing, connection, date, via)
    return out.take()
