# The field lines of a message, scanned in place: offsets into the bytes they came in, no Python object per field.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from .grammar cimport text
from .names cimport FieldKind

cdef struct Field:
    uint32_t name           # offset of the line's first byte
    uint32_t value          # offset of the value, white space before it skipped
    uint32_t value_len      # without the white space behind it
    uint32_t line_end       # offset behind the line's CR LF
    uint16_t name_len
    uint8_t kind            # FieldKind
    uint8_t hop             # 1: ends here (RFC 9110 §7.6.1)

cdef struct HeadLimits:
    uint32_t max_bytes      # of the whole head, start line included
    uint32_t max_fields
    uint32_t max_target

cdef class Fields:
    cdef Field* fields
    cdef uint32_t capacity
    cdef uint32_t count             # fields scanned
    cdef uint32_t size              # bytes of the head, its empty line included; 0 = not scanned
    cdef uint32_t fields_at         # offset of the first field line
    cdef bytes source               # keeps the bytes as long as the head is in use
    cdef text base                  # where in the source the head begins: what the offsets refer to
    cdef uint32_t host, host_len    # authority: from an absolute target, else from Host; host_len 0 = none
    cdef bint is_absolute           # the target names scheme and authority: it goes on in origin form
    # what the fields said, for framing; counts guard against doubles
    cdef uint32_t lengths, codings, hosts
    cdef int64_t length             # the last Content-Length; -1 = not a number
    cdef bint is_chunked            # the last transfer coding is `chunked`, and it is the only one
    cdef bint has_other_coding      # a coding that we do not know stands in Transfer-Encoding
    cdef bint expects_continue
    cdef uint32_t nominations
    cdef uint32_t seen              # bit (1 << FieldKind) for each kind that stands in the head
    cdef bint says_close, says_keep_alive, says_upgrade, wants_trailers

    cdef const Field* find(self, FieldKind kind) noexcept
    cdef const Field* find_named(self, text name, Py_ssize_t n) noexcept
    cdef void pass_on(self, FieldKind kind) noexcept
    cdef void drop(self, FieldKind kind) noexcept
    cdef void drop_named(self, text name, Py_ssize_t n) noexcept
    cdef inline bint has(self, FieldKind kind) noexcept:
        return (self.seen >> <int>kind) & 1

    # inside
    cdef void begin_fields(self, bytes source, text base) noexcept
    cdef void cut_lengths(self) noexcept
    cdef int scan_fields(self, text p, text end, const HeadLimits* limits) noexcept
    cdef int add_field(self, text line, text colon, text value, text value_end, text line_end) noexcept
    cdef int note_field(self, FieldKind kind, text value, text value_end) noexcept
    cdef int read_connection(self, text p, text end) noexcept
    cdef int nominate(self, text name, Py_ssize_t n) noexcept
    cdef bint grow(self) noexcept
    cdef void read_coding(self, text value, text value_end) noexcept
    cdef void note_option(self, text name, Py_ssize_t n) noexcept
    cdef int cut_nominated(self) noexcept
    cdef bytes slice(self, uint32_t at, uint32_t n)
    cdef int conclude_fields(self) noexcept
