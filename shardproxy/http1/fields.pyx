"""Scanning field lines in place: strict, one pass, offsets only (RFC 9112 §5, RFC 9110 §5).

No bare CR or LF, no folding, no white space around a name, no empty or illegal name.  Cost: one table look-up a byte, one
comparison a field whose length is that of a field the proxy knows.
"""

from libc.stdint cimport uint16_t, uint32_t
from libc.stdlib cimport free, realloc

from .authority cimport same_authority
from .faults cimport Fault
from .grammar cimport SP_TOKEN, SP_VALUE, is_space, parse_digits, skip_class, skip_space, sp_same, text, trim_space
from .names cimport *

cdef enum:
    FIRST_CAPACITY = 32
    MAX_NOMINATIONS = 32     # fields named by Connection: each costs one walk over the fields


cdef class Fields:

    def __dealloc__(self):
        free(self.fields)

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

    cdef void drop(self, FieldKind kind) noexcept:
        """Fields of a kind that would go on end here."""
        cdef uint32_t i
        for i in range(self.count):
            if self.fields[i].kind == <int>kind:
                self.fields[i].hop = True

    # hot
    cdef const Field* find_named(self, text name, Py_ssize_t n) noexcept:
        """The first field of that name, which is in lower case; or NULL.  Cost: a look at each field."""
        cdef uint32_t i
        for i in range(self.count):
            if self.fields[i].name_len == n and sp_same(self.base + self.fields[i].name, name, n):
                return &self.fields[i]
        return NULL

    cdef void drop_named(self, text name, Py_ssize_t n) noexcept:
        """As `drop`, by name in lower case."""
        cdef uint32_t i
        for i in range(self.count):
            if self.fields[i].name_len == n and sp_same(self.base + self.fields[i].name, name, n):
                self.fields[i].hop = True

    # hot
    cdef void begin_fields(self, bytes source, text base) noexcept:
        self.source = source
        self.base = base
        self.count = self.size = self.seen = self.host = self.host_len = 0
        self.is_absolute = False
        self.lengths = self.codings = self.hosts = self.nominations = 0
        self.length = 0
        self.is_chunked = self.has_other_coding = self.expects_continue = False
        self.says_close = self.says_keep_alive = self.says_upgrade = self.wants_trailers = False

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
            return Fault.NO_RESOURCES
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
            return Fault.BAD_FIELD
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
                    self.seen &= ~(<uint32_t>1 << field.kind)   # as if it had not come: Date is made anew
        return Fault.OK

    cdef void cut_lengths(self) noexcept:
        """1xx and 204 never go on with a Content-Length (RFC 9110 §8.6): some clients would wait for that body."""
        cdef uint32_t i
        for i in range(self.count):
            if self.fields[i].kind == <int>FIELD_CONTENT_LENGTH:
                self.fields[i].hop = True

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


cdef inline bint sp_same_end(text value, text value_end, text lower, size_t n) noexcept:
    """Does the last element of the list equal `lower`?"""
    if value_end - value <= <Py_ssize_t>n:
        return False
    return sp_same(value_end - n, lower, n) and ((value_end - n - 1)[0] == b',' or is_space((value_end - n - 1)[0]))
