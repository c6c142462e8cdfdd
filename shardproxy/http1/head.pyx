"""Scanning a message head in place: strict, one pass, offsets only (RFC 9112 §2-§5, RFC 9110 §5).

Here are the start lines, and what they and the fields say together; the fields are in fields.pyx.  Strict means that
whatever two parsers could read differently is a fault.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memchr, memcmp

from .authority cimport has_port, is_authority, same_authority
from .faults cimport Fault
from .grammar cimport SP_TARGET, SP_TOKEN, SP_VALUE, ZERO, parse_digits, skip_class, sp_same, text
from .names cimport *

from .faults import NAMES

cdef enum:
    MAX_METHOD = 32          # bytes; the longest registered one has 17
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
cdef class Head(Fields):

    # hot
    cdef int scan_request(self, bytes source, Py_ssize_t at, const HeadLimits* limits) noexcept:
        cdef text end = PyBytes_AS_STRING(source) + PyBytes_GET_SIZE(source)
        cdef text p = PyBytes_AS_STRING(source) + at
        cdef int fault
        self.begin(source, p)
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
        self.begin(source, p)
        fault = self.scan_status_line(&p, end)
        if fault == Fault.OK:
            fault = self.scan_fields(p, end, limits)
        if fault == Fault.OK:
            if self.lengths and (self.status < 200 or self.status == 204):
                self.cut_lengths()
            return Fault.OK if self.conclude_fields() == Fault.OK else Fault.BAD_RESPONSE
        if fault == Fault.NO_RESOURCES or (fault == Fault.NEED_MORE and end - self.base < limits.max_bytes):
            return fault
        return Fault.BAD_RESPONSE

    # hot
    cdef void begin(self, bytes source, text base) noexcept:
        self.begin_fields(source, base)
        self.method = METHOD_OTHER
        self.method_len = self.target = self.target_len = self.path = self.path_len = 0
        self.status = 0
        self.minor = 1

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

# Spare heads -------------------------------------------------------------------------------------------------------

# Plain C, so that giving a head back can't fail: an array of owned references.
cdef PyObject* spare[SPARE_HEADS]
cdef int spare_count = 0


cdef Head take_head():
    """A head from the spare ones; give it back when the exchange ends.  Raises MemoryError."""
    global spare_count
    cdef Head head
    if spare_count == 0:
        return Head.__new__(Head)
    spare_count -= 1
    head = <Head>spare[spare_count]
    Py_DECREF(head)
    return head


cdef void give_head(Head head) noexcept:
    """It is as new afterwards, however far its scan had come."""
    global spare_count
    head.begin(None, NULL)
    if spare_count < SPARE_HEADS:
        Py_INCREF(head)
        spare[spare_count] = <PyObject*>head
        spare_count += 1
