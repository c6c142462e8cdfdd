# All facts of one exchange, and the line that an access log has for it.
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from shardproxy.http1.grammar cimport text

cdef struct Slice:
    text p
    Py_ssize_t n            # 0 = there is none

cdef struct Record:
    Slice listener
    Slice client            # its address
    Slice method
    Slice host
    Slice target            # path and query, as they came
    Slice referer
    Slice agent
    Slice request_id
    Slice cluster
    Slice endpoint          # the last one that was asked
    Slice reason            # why it failed: the name of a fault
    int minor               # HTTP/1.minor
    int status              # that the client was told; 0 = none
    int retries
    int64_t bytes_in        # of the bodies
    int64_t bytes_out
    int64_t duration_ns     # from the head to the end
    int64_t upstream_ns     # from the sending of the request on; -1 = it was not sent

cdef inline Slice slice_of(bytes piece) noexcept:
    return Slice(p=PyBytes_AS_STRING(piece), n=PyBytes_GET_SIZE(piece))

cdef enum Format:
    FORMAT_JSON
    FORMAT_COMBINED

# Writes at most log_file.MOST_LINE bytes; returns how many.
cdef Py_ssize_t write_line(char* out, const Record* record, Format format) noexcept nogil
