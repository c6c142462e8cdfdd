"""Scanning a message head in place: strict, one pass, offsets only (RFC 9112 §2-§5, RFC 9110 §5).

Strict means that whatever two parsers could read differently is a fault: no bare CR or LF, no folding, no white space
around a name, no empty or illegal name, exactly one space in the start line.  Cost: one table look-up a byte, one
comparison a field whose length is that of a field the proxy knows.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint16_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcmp

from .authority cimport has_port, is_authority, same_authority
from .faults cimport Fault
from .grammar cimport (
    SP_TARGET, SP_TOKEN, SP_VALUE, ZERO, is_space, parse_digits, skip_class, skip_space, sp_same, text, trim_space
)
from .names cimport *

from .faults import NAMES

cdef enum:
    FIRST_CAPACITY = 32
    MAX_METHOD = 32          # bytes; the longest registered one has 17
    MAX_NOMINATIONS = 32     # fields named by Connection: each costs one walk over the fields
    SPARE_HEADS = 256        # heads kept for the next exchanges


cdef int find_head_end(text p, Py_ssize_t n, Py_ssize_t* resume_at) noexcept nogil:
    """Look for the empty line from `resume_at` on: OK, NEED_MORE, or BAD_LINE_END at the first bare LF.

    `resume_at` is moved on, so that a head that arrives in many pieces is looked at once in all.
    """
    cdef text at = p + resume_at[0]
    cdef text end = p + n
    while True:
        at = <text>memchr(at, b'\n', end - at)
        if at == NULL:
            resume_at[0] = n
            return Fault.NEED_MORE
        if at == p or (at - 1)[0] != b'\r':
            return Fault.BAD_LINE_END
        if at - p >= 3 and (at - 2)[0] == b'\n':
            return Fault.OK
        at += 1


@cython.final
cdef class Head:

    def __dealloc__(self):
        free(self.fields)

    # hot
    cdef int scan_request(self, bytes source, Py_ssize_t at, const HeadLimits* limits) noexcept:
        cdef text end = PyBytes_AS_STRING(source) + PyBytes_GET_SIZE(source)
        cdef text p = PyBytes_AS_STRING(source) + at
        cdef int fault
        self.begin(source)
        self.base = p
        fault = self.scan_request_line(&p, end, limits)
        if fault == Fault.OK:
            fault = self.scan_fields(p, end, limits)
        if fault == Fault.OK:
            return self.conclude_request()
        if fault == Fault.NEED_MORE and end - self.base >= limits.max_bytes:
            return Fault.HEAD_TOO_LARGE
        return fault

    # hot
    cdef int scan_response(self, bytes source, Py_ssize_t at, const HeadLimits* limits) noexcept:
        cdef text end = PyBytes_AS_STRING(source) + PyBytes_GET_SIZE(source)
        cdef text p = PyBytes_AS_STRING(source) + at
        cdef int fault
        self.begin(source)
        self.base = p
        fault = self.scan_status_line(&p, end)
        if fault == Fault.OK:
            fault = self.scan_fields(p, end, limits)
        if fault == Fault.OK:
            if self.lengths and (self.status < 200 or self.status == 204):
                cut_lengths(self)
            return self.conclude_fields()
        if fault == Fault.NEED_MORE and end - self.base < limits.max_bytes:
            return fault
        return Fault.BAD_RESPONSE

    cdef const Field* find(self, FieldKind kind) noexcept:
        """The first field of a kind, or NULL.  Cost: the number of fields, and nothing if there is none."""
        cdef uint32_t i
        if self.has(kind):
            for i in range(self.count):
                if self.fields[i].kind == <int>kind:
                    return &self.fields[i]
        return NULL

    cdef void pass_on(self, FieldKind kind) noexcept:
        """Fields of a kind that would end here go on after all."""
        cdef uint32_t i
        for i in range(self.count):
            if self.fields[i].kind == <int>kind:
                self.fields[i].hop = False

    # hot
    cdef void begin(self, bytes source) noexcept:
        self.source = source
        self.count = self.size = self.seen = 0
        self.method = METHOD_OTHER
        self.method_len = self.target = self.target_len = self.path = self.path_len = self.host = self.host_len = 0
        self.is_absolute = False
        self.status = 0
        self.minor = 1
        self.lengths = self.codings = self.hosts = self.nominations = 0
        self.length = 0
        self.is_chunked = self.has_other_coding = self.expects_continue = False
        self.says_close = self.says_keep_alive = self.says_upgrade = self.wants_trailers = False

    # Start lines ---------------------------------------------------------------------------------------------------

    # hot
    cdef int scan_request_line(self, text* at, text end, const HeadLimits* limits) noexcept:
        """method SP request-target SP HTTP-version CRLF (RFC 9112 §3)."""
        cdef text p = skip_class(at[0], end, SP_TOKEN)
        cdef text target
        self.method_len = p - self.base
        if self.method_len > MAX_METHOD:
            return Fault.BAD_REQUEST_LINE
        if p == end:
            return Fault.NEED_MORE
        if self.method_len == 0 or p[0] != b' ':
            return Fault.BAD_REQUEST_LINE
        target = p + 1
        p = skip_class(target, end, SP_TARGET)
        if p - target > limits.max_target:
            return Fault.TARGET_TOO_LONG
        if p == end:
            return Fault.NEED_MORE
        if p == target:
            return Fault.BAD_REQUEST_LINE
        if p[0] != b' ':
            return Fault.BAD_TARGET
        self.method = method_of(self.base, self.method_len)
        self.target = target - self.base
        self.target_len = p - target
        return self.scan_version(at, p + 1, end)

    cdef int scan_version(self, text* at, text p, text end) noexcept:
        if end - p < 10:
            return self.short_version(p, end)
        if memcmp(p, b"HTTP/1.", 7) != 0 or p[7] < b'0' or p[7] > b'1':
            return self.other_version(p)
        if p[8] != b'\r' or p[9] != b'\n':
            return Fault.BAD_LINE_END if p[8] == b'\n' or p[8] == b'\r' else Fault.BAD_REQUEST_LINE
        self.minor = p[7] - ZERO
        at[0] = p + 10
        return self.read_target(self.base + self.target, self.base + self.target + self.target_len)

    cdef int short_version(self, text p, text end) noexcept:
        """Not all of the version is there yet; a line that has ended already will not get longer."""
        if memchr(p, b'\n', end - p) == NULL:
            return Fault.NEED_MORE
        if end - p == 9 and memcmp(p, b"HTTP/1.", 7) == 0 and (p[7] == b'0' or p[7] == b'1') and p[8] == b'\n':
            return Fault.BAD_LINE_END
        return Fault.BAD_REQUEST_LINE

    cdef int other_version(self, text p) noexcept:
        cdef bint is_version = (memcmp(p, b"HTTP/", 5) == 0 and b'0' <= p[5] <= b'9' and p[6] == b'.'
                                and b'0' <= p[7] <= b'9' and p[8] == b'\r' and p[9] == b'\n')
        return Fault.BAD_VERSION if is_version else Fault.BAD_REQUEST_LINE

    # hot
    cdef int scan_status_line(self, text* at, text end) noexcept:
        """HTTP-version SP status-code SP [ reason-phrase ] CRLF (RFC 9112 §4); the last SP may be missing."""
        cdef text p = at[0]
        cdef int status
        if end - p < 15:
            return Fault.BAD_RESPONSE if memchr(p, b'\n', min(end - p, 13)) != NULL else Fault.NEED_MORE
        if memcmp(p, b"HTTP/1.", 7) != 0 or p[7] < b'0' or p[7] > b'1' or p[8] != b' ':
            return Fault.BAD_RESPONSE
        status = <int>parse_digits(p + 9, p + 12)
        if status < 100 or status > 999 or (p[12] != b' ' and p[12] != b'\r'):
            return Fault.BAD_RESPONSE
        self.minor = p[7] - ZERO
        self.status = <uint16_t>status
        p = skip_class(p + 12, end, SP_VALUE)
        if end - p < 2:
            return Fault.NEED_MORE
        if p[0] != b'\r' or p[1] != b'\n':
            return Fault.BAD_RESPONSE
        at[0] = p + 2
        return Fault.OK

    # Targets -------------------------------------------------------------------------------------------------------

    # hot
    cdef int read_target(self, text p, text end) noexcept:
        """origin-form, absolute-form or asterisk-form (RFC 9112 §3.2); authority-form belongs to CONNECT."""
        cdef text query
        if self.method == METHOD_CONNECT:
            return self.read_connect_target(p, end)
        if p[0] == b'/':
            query = <text>memchr(p, b'?', end - p)
            self.path = p - self.base
            self.path_len = (query if query != NULL else end) - p
            return Fault.OK
        if p[0] == b'*' and end - p == 1 and self.method == METHOD_OPTIONS:
            self.path = p - self.base
            self.path_len = 1
            return Fault.OK
        return self.read_absolute_target(p, end)

    cdef int read_connect_target(self, text p, text end) noexcept:
        """authority-form: host and port, both there (RFC 9112 §3.2.3)."""
        if not is_authority(p, end) or (end - 1)[0] < b'0' or (end - 1)[0] > b'9' or not has_port(p, end):
            return Fault.BAD_TARGET
        self.is_absolute = True
        self.host = p - self.base
        self.host_len = end - p
        self.path = end - self.base
        self.path_len = 0
        return Fault.OK

    cdef int read_absolute_target(self, text p, text end) noexcept:
        """http://authority/path?query: the authority counts, Host has to say the same (RFC 9112 §3.2.2)."""
        cdef text authority, path, query
        if end - p > 7 and sp_same(p, b"http://", 7):
            authority = p + 7
        elif end - p > 8 and sp_same(p, b"https://", 8):
            authority = p + 8
        else:
            return Fault.BAD_TARGET
        path = authority
        while path < end and path[0] != b'/' and path[0] != b'?':
            path += 1
        if not is_authority(authority, path):
            return Fault.BAD_TARGET
        query = <text>memchr(path, b'?', end - path)
        self.is_absolute = True
        self.host = authority - self.base
        self.host_len = path - authority
        self.path = path - self.base
        self.path_len = (query if query != NULL else end) - path
        return Fault.OK

    # Fields --------------------------------------------------------------------------------------------------------

    # hot
    cdef int scan_fields(self, text p, text end, const HeadLimits* limits) noexcept:
        """field-name ":" OWS field-value OWS CRLF, until the empty line (RFC 9112 §5)."""
        cdef text line, colon, value
        cdef int fault
        self.fields_at = p - self.base
        while True:
            if end - p < 2:
                return Fault.NEED_MORE if p == end or p[0] != b'\n' else Fault.BAD_LINE_END
            if p[0] == b'\r':
                if p[1] != b'\n':
                    return Fault.BAD_LINE_END
                self.size = p + 2 - self.base
                return Fault.OK if self.size <= limits.max_bytes else Fault.HEAD_TOO_LARGE
            line = p
            colon = skip_class(p, end, SP_TOKEN)
            if colon == end:
                return Fault.NEED_MORE
            if colon == line or colon[0] != b':':
                return Fault.BAD_LINE_END if is_space(line[0]) or line[0] == b'\n' else Fault.BAD_FIELD
            value = skip_space(colon + 1, end)
            p = skip_class(value, end, SP_VALUE)
            if end - p < 2:
                if p == end or p[0] == b'\r':
                    return Fault.NEED_MORE
                return Fault.BAD_LINE_END if p[0] == b'\n' else Fault.BAD_FIELD
            if p[0] != b'\r' or p[1] != b'\n':
                return Fault.BAD_LINE_END if p[0] == b'\n' or p[0] == b'\r' else Fault.BAD_FIELD
            if self.count >= limits.max_fields:
                return Fault.HEAD_TOO_LARGE
            fault = self.add_field(line, colon, value, trim_space(value, p), p + 2)
            if fault != Fault.OK:
                return fault
            p += 2

    # hot
    cdef int add_field(self, text line, text colon, text value, text value_end, text line_end) noexcept:
        cdef Field* field
        cdef FieldKind kind
        if self.count == self.capacity and not self.grow():
            return Fault.HEAD_TOO_LARGE
        if colon - line > 0xffff:
            return Fault.HEAD_TOO_LARGE
        kind = classify(line, colon - line)
        field = &self.fields[self.count]
        self.count += 1
        field.name = line - self.base
        field.name_len = <uint16_t>(colon - line)
        field.value = value - self.base
        field.value_len = value_end - value
        field.line_end = line_end - self.base
        field.kind = kind
        field.hop = ends_here(kind)
        if kind == FIELD_OTHER:
            return Fault.OK
        self.seen |= <uint32_t>1 << <int>kind
        return self.note_field(kind, value, value_end)

    cdef bint grow(self) noexcept:
        cdef uint32_t capacity = self.capacity * 2 if self.capacity else FIRST_CAPACITY
        cdef Field* fields = <Field*>realloc(self.fields, capacity * sizeof(Field))
        if fields == NULL:
            return False
        self.fields = fields
        self.capacity = capacity
        return True

    # hot
    cdef int note_field(self, FieldKind kind, text value, text value_end) noexcept:
        """Remember what framing and connection handling need to know of a field."""
        if kind == FIELD_HOST:
            self.hosts += 1
            if not self.is_absolute:
                self.host = value - self.base
                self.host_len = value_end - value
        elif kind == FIELD_CONTENT_LENGTH:
            self.lengths += 1
            self.length = parse_digits(value, value_end)
        elif kind == FIELD_TRANSFER_ENCODING:
            self.read_coding(value, value_end)
        elif kind == FIELD_CONNECTION:
            return self.read_connection(value, value_end)
        elif kind == FIELD_TE:
            self.wants_trailers = value_end - value == 8 and sp_same(value, b"trailers", 8)
        elif kind == FIELD_EXPECT:
            self.expects_continue = value_end - value == 12 and sp_same(value, b"100-continue", 12)
        return Fault.OK

    cdef void read_coding(self, text value, text value_end) noexcept:
        self.codings += 1
        if value_end - value == 7 and sp_same(value, b"chunked", 7):
            self.is_chunked = True
        elif sp_same_end(value, value_end, b"chunked", 7):
            self.has_other_coding = True
            self.is_chunked = True
        else:
            self.has_other_coding = True
            self.is_chunked = False

    # hot
    cdef int read_connection(self, text p, text end) noexcept:
        """#connection-option: tokens with commas between them, empty elements allowed (RFC 9110 §5.6.1.2)."""
        cdef text name
        while p < end:
            name = skip_space(p, end)
            p = skip_class(name, end, SP_TOKEN)
            if p > name:
                self.note_option(name, p - name)
            p = skip_space(p, end)
            if p < end:
                if p[0] != b',':
                    return Fault.BAD_FIELD
                p += 1
        return Fault.OK

    cdef void note_option(self, text name, Py_ssize_t n) noexcept:
        if n == 10 and sp_same(name, b"keep-alive", 10):
            self.says_keep_alive = True
        elif n == 5 and sp_same(name, b"close", 5):
            self.says_close = True
        elif n == 7 and sp_same(name, b"upgrade", 7):
            self.says_upgrade = True
        else:
            self.nominations += 1

    # What all fields say together ----------------------------------------------------------------------------------

    # hot
    cdef int conclude_fields(self) noexcept:
        return Fault.OK if self.nominations == 0 else self.cut_nominated()

    cdef int cut_nominated(self) noexcept:
        """Mark the fields that Connection names.  Cost: options times fields; the options are bounded."""
        cdef uint32_t i
        cdef text p, end, name
        if self.nominations > MAX_NOMINATIONS:
            return Fault.BAD_FIELD if self.status == 0 else Fault.BAD_RESPONSE
        for i in range(self.count):
            if self.fields[i].kind == <int>FIELD_CONNECTION:
                p = self.base + self.fields[i].value
                end = p + self.fields[i].value_len
                while p < end:
                    name = skip_space(p, end)
                    p = skip_class(name, end, SP_TOKEN)
                    self.nominate(name, p - name)
                    p = skip_space(p, end) + 1
        return Fault.OK

    cdef int nominate(self, text name, Py_ssize_t n) noexcept:
        cdef uint32_t i
        cdef Field* field
        for i in range(self.count):
            field = &self.fields[i]
            if field.name_len == n and may_be_nominated(<FieldKind>field.kind):
                if same_authority(self.base + field.name, n, name, n):
                    field.hop = True
        return Fault.OK

    # hot
    cdef int conclude_request(self) noexcept:
        """Host: exactly one in HTTP/1.1, well formed, and that of an absolute target (RFC 9112 §3.2)."""
        cdef const Field* field
        if self.hosts != 1:
            return self.conclude_without_host()
        if not self.is_absolute:
            if not is_authority(self.base + self.host, self.base + self.host + self.host_len):
                return Fault.BAD_HOST
            return self.conclude_fields()
        field = self.find(FIELD_HOST)
        if not same_authority(self.base + field.value, field.value_len, self.base + self.host, self.host_len):
            return Fault.BAD_HOST
        return self.conclude_fields()

    cdef int conclude_without_host(self) noexcept:
        if self.hosts > 1 or self.minor != 0:
            return Fault.BAD_HOST
        return self.conclude_fields()

    # For tests, filters and logs -----------------------------------------------------------------------------------

    def read(self, bytes data, str what="request", *, uint32_t max_bytes=32768, uint32_t max_fields=100):
        """Scan `data` as a request or a response; the fault's name, "ok" or "need_more"."""
        cdef HeadLimits limits = HeadLimits(max_bytes=max_bytes, max_fields=max_fields, max_target=max_bytes)
        if what == "response":
            return NAMES[self.scan_response(data, 0, &limits)]
        return NAMES[self.scan_request(data, 0, &limits)]

    @property
    def facts(self):
        """Everything the scan found, as plain Python values."""
        return {
            "method": self.base[:self.method_len], "target": self.slice(self.target, self.target_len),
            "path": self.slice(self.path, self.path_len), "host": self.slice(self.host, self.host_len),
            "status": self.status, "minor": self.minor, "size": self.size,
            "close": self.says_close, "keep_alive": self.says_keep_alive, "upgrade": self.says_upgrade,
        }

    @property
    def items(self):
        """(name, value, ends here) of each field, in order."""
        cdef uint32_t i
        return [
            (
                self.slice(self.fields[i].name, self.fields[i].name_len),
                self.slice(self.fields[i].value, self.fields[i].value_len),
                bool(self.fields[i].hop),
            )
            for i in range(self.count)
        ]

    cdef bytes slice(self, uint32_t at, uint32_t n):
        return self.base[at:at + n]


cdef void cut_lengths(Head head) noexcept:
    """1xx and 204 never go on with a Content-Length (RFC 9110 §8.6): some clients would wait for that body."""
    cdef uint32_t i
    for i in range(head.count):
        if head.fields[i].kind == <int>FIELD_CONTENT_LENGTH:
            head.fields[i].hop = True


cdef inline bint sp_same_end(text value, text value_end, text lower, size_t n) noexcept:
    """Does the last element of the list equal `lower`?"""
    if value_end - value <= <Py_ssize_t>n:
        return False
    return sp_same(value_end - n, lower, n) and ((value_end - n - 1)[0] == b',' or is_space((value_end - n - 1)[0]))


# Spare heads -------------------------------------------------------------------------------------------------------

cdef list spare = []


cdef Head take_head():
    """A head from the spare ones; give it back when the exchange ends."""
    if spare:
        return <Head>spare.pop()
    return Head.__new__(Head)


cdef void give_head(Head head) noexcept:
    head.source = None
    head.base = NULL
    head.size = 0
    if len(spare) < SPARE_HEADS:
        spare.append(head)
