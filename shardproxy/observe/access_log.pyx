"""One line for one exchange, in JSON or in NCSA's combined format, written without a Python object.

    {"time":"2026-11-23T15:47:55.123Z","client":"10.0.0.7","method":"GET","host":"a.example","target":"/x","status":200,...}
    10.0.0.7 - - [23/Nov/2026:15:47:55 +0000] "GET /x HTTP/1.1" 200 1024 "-" "curl/8.5"

Whatever a client sends, a line stays a line, and JSON stays JSON: control characters, quotes, backslashes and bytes beyond
ASCII are escaped (`\u00e4` for the byte e4, as ISO 8859-1 has it; `\xe4` in the combined format, as Apache does), and
what is overlong is cut.
"""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from shardproxy.http1.grammar cimport ZERO
from .log_file cimport MOST_LINE

cdef extern from "<time.h>" nogil:
    ctypedef long time_t
    cdef struct timespec:
        time_t tv_sec
        long tv_nsec
    cdef struct tm:
        int tm_sec, tm_min, tm_hour, tm_mday, tm_mon, tm_year
    const int CLOCK_REALTIME
    int clock_gettime(int clock, timespec* now)
    tm* gmtime_r(const time_t* at, tm* out)

cdef enum:
    MOST_NAME = 256         # bytes of a host, a cluster, an address ... that a line has; six times that when all are escaped
    MOST_TARGET = 2048
    MOST_TEXT = 512         # of Referer and User-Agent

cdef extern from *:
    """
    #include <string.h>
    #include <stdint.h>
    /* Not needing an escape: eight bytes at a time (after "Bit Twiddling Hacks", S. E. Anderson: zero byte, less than). */
    #define SP_ONES 0x0101010101010101ULL
    #define SP_TOPS 0x8080808080808080ULL
    #define SP_ZERO(x) (((x) - SP_ONES) & ~(x) & SP_TOPS)
    static inline int sp_plain8(uint64_t w) {
        return !((w & SP_TOPS) | ((w - SP_ONES * 0x20) & ~w & SP_TOPS)
                 | SP_ZERO(w ^ SP_ONES * '"') | SP_ZERO(w ^ SP_ONES * '\\\\') | SP_ZERO(w ^ SP_ONES * 0x7f));
    }
    static const char sp_months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    static const char sp_digits[] = "0123456789abcdef";
    """
    bint sp_plain8(uint64_t w) noexcept nogil
    const char* sp_months
    const char* sp_digits

FORMATS = {"json": FORMAT_JSON, "combined": FORMAT_COMBINED}

# When it is, in words, for the second that they were last asked for.
cdef struct Moment:
    time_t second
    char[20] iso            # 2026-11-23T15:47:55
    char[21] common         # 23/Nov/2026:15:47:55

cdef Moment moment
moment.second = -1


# Pieces ----------------------------------------------------------------------------------------------------------------

cdef inline char* put(char* out, const char* p, Py_ssize_t n) noexcept nogil:
    memcpy(out, p, n)
    return out + n


cdef inline char* put_padded(char* out, int number, int digits) noexcept nogil:
    cdef int i
    for i in range(digits - 1, -1, -1):
        out[i] = <char>(ZERO + number % 10)
        number //= 10
    return out + digits


cdef inline char* put_decimal(char* out, int64_t number) noexcept nogil:
    cdef char[20] text
    cdef int at = 20
    cdef uint64_t left = <uint64_t>max(number, 0)
    while True:
        at -= 1
        text[at] = <char>(ZERO + left % 10)
        left //= 10
        if left == 0:
            return put(out, text + at, 20 - at)


cdef inline char* put_ms(char* out, int64_t ns) noexcept nogil:
    """Milliseconds with three decimals."""
    cdef int64_t us = max(ns, 0) // 1000
    out = put_decimal(out, us // 1000)
    out[0] = b'.'
    return put_padded(out + 1, <int>(us % 1000), 3)


cdef inline char* put_escaped(char* out, uint8_t c, Format format) noexcept nogil:
    if c == b'"' or c == b'\\':
        out[0], out[1] = b'\\', c
        return out + 2
    if format == FORMAT_JSON:
        out = put(out, b"\\u00", 4)
    else:
        out = put(out, b"\\x", 2)
    out[0], out[1] = sp_digits[c >> 4], sp_digits[c & 15]
    return out + 2


cdef char* put_text(char* out, const Slice* piece, Py_ssize_t most, Format format) noexcept nogil:
    """Cost: an eighth of a step for a byte that needs no escape, at most."""
    cdef text p = piece.p
    cdef text end = p + min(piece.n, most)
    cdef uint64_t eight
    cdef uint8_t c
    while p < end:
        while end - p >= 8:
            memcpy(&eight, p, 8)
            if not sp_plain8(eight):
                break
            memcpy(out, &eight, 8)
            p += 8
            out += 8
        if p == end:
            break
        c = <uint8_t>p[0]
        p += 1
        if 0x20 <= c < 0x7f and c != b'"' and c != b'\\':
            out[0] = <char>c
            out += 1
        else:
            out = put_escaped(out, c, format)
    return out


cdef long note_moment() noexcept nogil:
    """Renews `moment`; returns the milliseconds in its second."""
    cdef timespec now
    cdef tm date
    cdef char* out
    clock_gettime(CLOCK_REALTIME, &now)
    if now.tv_sec != moment.second:
        gmtime_r(&now.tv_sec, &date)
        moment.second = now.tv_sec
        out = put_padded(moment.iso, date.tm_year + 1900, 4)
        out[0] = b'-'
        out = put_padded(out + 1, date.tm_mon + 1, 2)
        out[0] = b'-'
        out = put_padded(out + 1, date.tm_mday, 2)
        out[0] = b'T'
        put_time(out + 1, &date)
        out = put_padded(moment.common, date.tm_mday, 2)
        out[0] = b'/'
        out = put(out + 1, sp_months + 3 * date.tm_mon, 3)
        out[0] = b'/'
        out = put_padded(out + 1, date.tm_year + 1900, 4)
        out[0] = b':'
        put_time(out + 1, &date)
    return now.tv_nsec // 1_000_000


cdef inline void put_time(char* out, const tm* date) noexcept nogil:
    out = put_padded(out, date.tm_hour, 2)
    out[0] = b':'
    out = put_padded(out + 1, date.tm_min, 2)
    out[0] = b':'
    put_padded(out + 1, date.tm_sec, 2)


# Lines -----------------------------------------------------------------------------------------------------------------

cdef inline char* put_member(char* out, const char* key, Py_ssize_t n, const Slice* value, Py_ssize_t most) noexcept nogil:
    """`key` is `,"name":"`; nothing, if there is no value."""
    if value.n == 0:
        return out
    out = put_text(put(out, key, n), value, most, FORMAT_JSON)
    out[0] = b'"'
    return out + 1


cdef Py_ssize_t write_json(char* start, const Record* record) noexcept nogil:
    cdef char* out = put(start, b'{"time":"', 9)
    cdef int milliseconds = <int>note_moment()
    out = put(out, moment.iso, 19)
    out[0] = b'.'
    out = put(put_padded(out + 1, milliseconds, 3), b'Z"', 2)
    out = put_member(out, b',"listener":"', 13, &record.listener, MOST_NAME)
    out = put_member(out, b',"client":"', 11, &record.client, MOST_NAME)
    out = put_member(out, b',"method":"', 11, &record.method, MOST_NAME)
    out = put_member(out, b',"host":"', 9, &record.host, MOST_NAME)
    out = put_member(out, b',"target":"', 11, &record.target, MOST_TARGET)
    if record.method.n:
        out = put(out, b',"protocol":"HTTP/1.', 20)
        out[0], out[1] = <char>(ZERO + record.minor), b'"'
        out += 2
    out = put_decimal(put(out, b',"status":', 10), record.status)
    out = put_decimal(put(out, b',"bytes_in":', 12), record.bytes_in)
    out = put_decimal(put(out, b',"bytes_out":', 13), record.bytes_out)
    out = put_ms(put(out, b',"duration_ms":', 15), record.duration_ns)
    if record.upstream_ns >= 0:
        out = put_ms(put(out, b',"upstream_ms":', 15), record.upstream_ns)
    out = put_member(out, b',"cluster":"', 12, &record.cluster, MOST_NAME)
    out = put_member(out, b',"endpoint":"', 13, &record.endpoint, MOST_NAME)
    if record.retries:
        out = put_decimal(put(out, b',"retries":', 11), record.retries)
    out = put_member(out, b',"reason":"', 11, &record.reason, MOST_NAME)
    out = put_member(out, b',"request_id":"', 15, &record.request_id, MOST_NAME)
    out = put_member(out, b',"referer":"', 12, &record.referer, MOST_TEXT)
    out = put_member(out, b',"user_agent":"', 15, &record.agent, MOST_TEXT)
    return put(out, b"}\n", 2) - start


cdef inline char* put_or_dash(char* out, const Slice* value, Py_ssize_t most) noexcept nogil:
    if value.n:
        return put_text(out, value, most, FORMAT_COMBINED)
    out[0] = b'-'
    return out + 1


cdef Py_ssize_t write_combined(char* start, const Record* record) noexcept nogil:
    cdef char* out = put(put_or_dash(start, &record.client, MOST_NAME), b" - - [", 6)
    note_moment()
    out = put(put(out, moment.common, 20), b' +0000] "', 9)
    out = put_or_dash(out, &record.method, MOST_NAME)
    if record.method.n:
        out[0] = b' '
        out = put(put_text(out + 1, &record.target, MOST_TARGET, FORMAT_COMBINED), b" HTTP/1.", 8)
        out[0] = <char>(ZERO + record.minor)
        out += 1
    out = put_decimal(put(out, b'" ', 2), record.status)
    out[0] = b' '
    out = put(put_decimal(out + 1, record.bytes_out), b' "', 2)
    out = put(put_or_dash(out, &record.referer, MOST_TEXT), b'" "', 3)
    return put(put_or_dash(out, &record.agent, MOST_TEXT), b'"\n', 2) - start


# hot
cdef Py_ssize_t write_line(char* out, const Record* record, Format format) noexcept nogil:
    return write_json(out, record) if format == FORMAT_JSON else write_combined(out, record)


# For tests -------------------------------------------------------------------------------------------------------------

def line_of(format, **facts):
    cdef char[MOST_LINE] out
    cdef Record record
    cdef dict kept = {name: facts.pop(name, b"") for name in (
        "listener", "client", "method", "host", "target", "referer", "agent", "request_id", "cluster", "endpoint", "reason")}
    record.listener, record.client = slice_of(kept["listener"]), slice_of(kept["client"])
    record.method, record.host, record.target = slice_of(kept["method"]), slice_of(kept["host"]), slice_of(kept["target"])
    record.referer, record.agent = slice_of(kept["referer"]), slice_of(kept["agent"])
    record.request_id, record.reason = slice_of(kept["request_id"]), slice_of(kept["reason"])
    record.cluster, record.endpoint = slice_of(kept["cluster"]), slice_of(kept["endpoint"])
    record.minor, record.status = facts.pop("minor", 1), facts.pop("status", 200)
    record.retries = facts.pop("retries", 0)
    record.bytes_in, record.bytes_out = facts.pop("bytes_in", 0), facts.pop("bytes_out", 0)
    record.duration_ns, record.upstream_ns = facts.pop("duration_ns", 0), facts.pop("upstream_ns", -1)
    if facts:
        raise KeyError(*facts)
    return out[:write_line(out, &record, FORMATS[format])]

