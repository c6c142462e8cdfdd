# Byte classes and token comparison, inline: everything here runs per byte or per field.
#
# RFC 9110 §5.6.2 (token), §5.5 (field-value), RFC 9112 §3.2 (request-target).  A class is one bit of one table, so
# a scan costs one load and one test a byte.
from libc.stdint cimport uint8_t, uint32_t, int64_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #define SP_TOKEN 1   /* tchar */
    #define SP_VALUE 2   /* HTAB, SP, VCHAR, obs-text */
    #define SP_TARGET 4  /* VCHAR but '#': a fragment is never sent, so whoever sends one means something else */
    #define SP_HOST 8    /* reg-name, IP literal and port: unreserved, sub-delims but ',', pct-encoded, ':', '[', ']' */
    static const uint8_t sp_class[256] = {
        ['\\t'] = SP_VALUE, [' '] = SP_VALUE,
        ['!'] = 15, ['"'] = 6, ['#'] = 3, ['$'] = 15, ['%'] = 15, ['&'] = 15, ['\\''] = 15, ['('] = 14, [')'] = 14,
        ['*'] = 15, ['+'] = 15, [','] = 6, ['-'] = 15, ['.'] = 15, ['/'] = 6, ['0' ... '9'] = 15, [':'] = 14,
        [';'] = 14, ['<'] = 6, ['='] = 14, ['>'] = 6, ['?'] = 6, ['@'] = 6, ['A' ... 'Z'] = 15, ['['] = 14,
        ['\\\\'] = 6, [']'] = 14, ['^'] = 7, ['_'] = 15, ['`'] = 7, ['a' ... 'z'] = 15, ['{'] = 6, ['|'] = 7,
        ['}'] = 6, ['~'] = 15, [0x80 ... 0xff] = SP_VALUE,
    };
    /* Lower case of a token that is already known to be one; other bytes are only ever compared, never kept. */
    static inline int sp_same(const char *at, const char *lower, size_t n) {
        for (size_t i = 0; i < n; i++) {
            uint8_t c = (uint8_t)at[i];
            if (c >= 'A' && c <= 'Z') c |= 0x20;
            if (c != (uint8_t)lower[i]) return 0;
        }
        return 1;
    }
    static inline int sp_hex(uint8_t c) {
        if (c >= '0' && c <= '9') return c - '0';
        c |= 0x20;
        if (c >= 'a' && c <= 'f') return c - 'a' + 10;
        return -1;
    }
    """
    const uint8_t sp_class[256]
    const uint8_t SP_TOKEN, SP_VALUE, SP_TARGET, SP_HOST
    bint sp_same(const char *at, const char *lower, size_t n) noexcept nogil
    int sp_hex(uint8_t c) noexcept nogil

ctypedef const char* text

cdef enum:
    ZERO = 48  # '0'


cdef inline text skip_class(text p, text end, uint8_t wanted) noexcept nogil:
    """The first byte at or after `p` that is not of the class; `end` if there is none."""
    while p < end and sp_class[<uint8_t>p[0]] & wanted:
        p += 1
    return p


cdef inline bint is_space(char c) noexcept nogil:
    """OWS (RFC 9110 §5.6.3)."""
    return c == b' ' or c == b'\t'


cdef inline text skip_space(text p, text end) noexcept nogil:
    while p < end and is_space(p[0]):
        p += 1
    return p


cdef inline text trim_space(text start, text end) noexcept nogil:
    """The end of the text without the white space behind it."""
    while end > start and is_space((end - 1)[0]):
        end -= 1
    return end


cdef inline int64_t parse_digits(text p, text end) noexcept nogil:
    """1*DIGIT as a number, or -1: empty, a byte that is no digit, or above 2^62."""
    cdef int64_t n = 0
    if p == end:
        return -1
    while p < end:
        if p[0] < b'0' or p[0] > b'9' or n > (<int64_t>1 << 62) // 10 - 1:
            return -1
        n = n * 10 + (p[0] - ZERO)
        p += 1
    return n
