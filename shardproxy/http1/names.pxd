# The methods and fields that the proxy itself reads, cuts or sets.  All others pass as they came.
from libc.string cimport memcmp

from .grammar cimport sp_same, text

cdef enum FieldKind:
    FIELD_OTHER = 0
    FIELD_HOST
    FIELD_CONTENT_LENGTH
    FIELD_TRANSFER_ENCODING
    FIELD_CONNECTION
    FIELD_KEEP_ALIVE
    FIELD_PROXY_CONNECTION
    FIELD_TE
    FIELD_TRAILER
    FIELD_UPGRADE
    FIELD_HTTP2_SETTINGS
    FIELD_EXPECT
    FIELD_DATE
    FIELD_VIA
    FIELD_X_FORWARDED_FOR
    FIELD_X_FORWARDED_PROTO
    FIELD_X_FORWARDED_HOST
    FIELD_X_REQUEST_ID
    FIELD_FORWARDED

cdef enum Method:
    METHOD_OTHER = 0
    METHOD_GET
    METHOD_HEAD
    METHOD_POST
    METHOD_PUT
    METHOD_DELETE
    METHOD_OPTIONS
    METHOD_TRACE
    METHOD_CONNECT


cdef inline FieldKind classify(text name, Py_ssize_t n) noexcept nogil:
    """Which field this is: by length first, so that most names cost one jump."""
    if n == 2:
        return FIELD_TE if sp_same(name, b"te", 2) else FIELD_OTHER
    if n == 3:
        return FIELD_VIA if sp_same(name, b"via", 3) else FIELD_OTHER
    if n == 4:
        if sp_same(name, b"host", 4):
            return FIELD_HOST
        return FIELD_DATE if sp_same(name, b"date", 4) else FIELD_OTHER
    if n == 6:
        return FIELD_EXPECT if sp_same(name, b"expect", 6) else FIELD_OTHER
    if n == 7:
        if sp_same(name, b"upgrade", 7):
            return FIELD_UPGRADE
        return FIELD_TRAILER if sp_same(name, b"trailer", 7) else FIELD_OTHER
    if n < 9 or n > 17:
        return FIELD_OTHER
    return classify_long(name, n)


cdef inline FieldKind classify_long(text name, Py_ssize_t n) noexcept nogil:
    if n == 9:
        return FIELD_FORWARDED if sp_same(name, b"forwarded", 9) else FIELD_OTHER
    if n == 10:
        if sp_same(name, b"connection", 10):
            return FIELD_CONNECTION
        return FIELD_KEEP_ALIVE if sp_same(name, b"keep-alive", 10) else FIELD_OTHER
    if n == 12:
        return FIELD_X_REQUEST_ID if sp_same(name, b"x-request-id", 12) else FIELD_OTHER
    if n == 14:
        if sp_same(name, b"content-length", 14):
            return FIELD_CONTENT_LENGTH
        return FIELD_HTTP2_SETTINGS if sp_same(name, b"http2-settings", 14) else FIELD_OTHER
    if n == 15:
        return FIELD_X_FORWARDED_FOR if sp_same(name, b"x-forwarded-for", 15) else FIELD_OTHER
    if n == 16:
        if sp_same(name, b"proxy-connection", 16):
            return FIELD_PROXY_CONNECTION
        return FIELD_X_FORWARDED_HOST if sp_same(name, b"x-forwarded-host", 16) else FIELD_OTHER
    if n == 17:
        if sp_same(name, b"transfer-encoding", 17):
            return FIELD_TRANSFER_ENCODING
        return FIELD_X_FORWARDED_PROTO if sp_same(name, b"x-forwarded-proto", 17) else FIELD_OTHER
    return FIELD_OTHER


cdef inline bint ends_here(FieldKind kind) noexcept nogil:
    """Hop-by-hop whether nominated or not (RFC 9110 §7.6.1); we frame and announce anew for the next hop."""
    return (kind == FIELD_CONNECTION or kind == FIELD_KEEP_ALIVE or kind == FIELD_PROXY_CONNECTION
            or kind == FIELD_TE or kind == FIELD_TRAILER or kind == FIELD_UPGRADE
            or kind == FIELD_HTTP2_SETTINGS or kind == FIELD_TRANSFER_ENCODING)


cdef inline bint may_be_nominated(FieldKind kind) noexcept nogil:
    """Connection may name any end-to-end field, but not take away what framing, routing or tracing stands on."""
    return kind == FIELD_OTHER or kind == FIELD_DATE or kind == FIELD_VIA


cdef inline Method method_of(text p, Py_ssize_t n) noexcept nogil:
    """Methods are case-sensitive (RFC 9110 §9.1): `get` is an extension method and goes on as such."""
    if n == 3:
        if memcmp(p, b"GET", 3) == 0:
            return METHOD_GET
        return METHOD_PUT if memcmp(p, b"PUT", 3) == 0 else METHOD_OTHER
    if n == 4:
        if memcmp(p, b"POST", 4) == 0:
            return METHOD_POST
        return METHOD_HEAD if memcmp(p, b"HEAD", 4) == 0 else METHOD_OTHER
    if n == 5:
        return METHOD_TRACE if memcmp(p, b"TRACE", 5) == 0 else METHOD_OTHER
    if n == 6:
        return METHOD_DELETE if memcmp(p, b"DELETE", 6) == 0 else METHOD_OTHER
    if n == 7:
        if memcmp(p, b"OPTIONS", 7) == 0:
            return METHOD_OPTIONS
        return METHOD_CONNECT if memcmp(p, b"CONNECT", 7) == 0 else METHOD_OTHER
    return METHOD_OTHER


cdef inline bint is_idempotent(Method method) noexcept nogil:
    """RFC 9110 §9.2.2: may be sent again when it is not known whether the first one arrived."""
    return (method == METHOD_GET or method == METHOD_HEAD or method == METHOD_OPTIONS or method == METHOD_TRACE
            or method == METHOD_PUT or method == METHOD_DELETE)
