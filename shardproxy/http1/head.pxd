# A message head, scanned in place: offsets into the bytes it came in, nothing copied, no Python object per field.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from .fields cimport Field, Fields, HeadLimits
from .grammar cimport text
from .names cimport FieldKind, Method

@cython.final
cdef class Head(Fields):
    # start line of a request
    cdef Method method
    cdef uint32_t method_len
    cdef uint32_t target, target_len
    cdef uint32_t path, path_len    # of the target, without authority and query
    # start line of a response
    cdef uint16_t status
    # both
    cdef uint8_t minor              # HTTP/1.minor
    # scan: OK, NEED_MORE or a fault; `at` is where in the source the head begins.  NO_RESOURCES is the proxy's own fault,
    # of a response's head, too: no memory for the table of fields.
    cdef int scan_request(self, bytes source, Py_ssize_t at, const HeadLimits* limits) noexcept
    cdef int scan_response(self, bytes source, Py_ssize_t at, const HeadLimits* limits) noexcept
    # inside
    cdef void begin(self, bytes source, text base) noexcept
    cdef int scan_request_line(self, text* at, text end, const HeadLimits* limits) noexcept
    cdef int read_target(self, text p, text end) noexcept
    cdef int read_connect_target(self, text p, text end) noexcept
    cdef int read_absolute_target(self, text p, text end) noexcept
    cdef int scan_version(self, text* at, text p, text end) noexcept
    cdef int short_version(self, text p, text end) noexcept
    cdef int other_version(self, text p) noexcept
    cdef int scan_status_line(self, text* at, text end) noexcept
    cdef int conclude_without_host(self) noexcept
    cdef int conclude_request(self) noexcept

cdef int find_head_end(text p, Py_ssize_t n, Py_ssize_t* resume_at) noexcept nogil
cdef Head take_head()
cdef void give_head(Head head) noexcept
