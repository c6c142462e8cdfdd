"""Methods, fields, parameters, cookies, networks, and a share of all clients.

Patterns are those of RE2, which takes time in proportion to the text whatever the pattern is, so no request can make one
run away.  A pattern that cannot be tried says neither yes nor no: the text is no UTF-8, whose bytes not even `.` stands
for, or there is no memory.  A route that asks for such a test does not match, whether its condition is inverted or not.
"""

from collections import namedtuple

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from shardproxy.http1.forwarding cimport read_ip
from shardproxy.http1.names cimport METHOD_OTHER, Method, method_of
from shardproxy.http1.values cimport cookie_value, field_value, query_value
from shardproxy.shm.siphash cimport sp_siphash13

ConditionSpec = namedtuple("ConditionSpec", "source name test wanted is_inverted")
ShareSpec = namedtuple("ShareSpec", "millionths salt by name")

SOURCES = {"header": IN_HEADER, "query": IN_QUERY, "cookie": IN_COOKIE}
TESTS = {"present": IS_PRESENT, "exact": IS_EXACTLY, "prefix": BEGINS_WITH, "suffix": ENDS_WITH, "contains": CONTAINS,
         "regex": MATCHES}

cdef enum:
    MILLION = 1_000_000
    BY_CLIENT = -1

cdef extern from *:
    """
    /* Whether `fullmatch` takes the text: 1, 0, or -1 when that cannot be found out.  Its exception goes to
       sys.unraisablehook, which counts and logs it; none is left behind. */
    static int sp_full_match(PyObject *fullmatch, const char *p, Py_ssize_t n) {
        PyObject *text = PyBytes_FromStringAndSize(p, n);
        PyObject *match = text == NULL ? NULL : PyObject_CallOneArg(fullmatch, text);
        int found = match == NULL ? -1 : match != Py_None;
        if (match == NULL)
            PyErr_WriteUnraisable(fullmatch);
        Py_XDECREF(text);
        Py_XDECREF(match);
        return found;
    }
    """
    int sp_full_match(PyObject* fullmatch, text p, Py_ssize_t n)


cdef class Conditions:
    def __cinit__(self, conditions=(), *args, **others):
        self.conditions = <Condition*>calloc(max(len(conditions), 1), sizeof(Condition))
        if self.conditions == NULL:
            raise MemoryError

    def __init__(self, conditions=(), *, methods=(), TrustedProxies networks=None, share=None, path_pattern=None):
        """`wanted` of a condition that `regex` tests is a compiled pattern, of all others bytes."""
        self.patterns = tuple([spec.wanted.fullmatch for spec in conditions if spec.test == "regex"])
        self.kept = tuple([(name_of(spec.source, spec.name), spec.wanted) for spec in conditions])
        for spec in conditions:
            self.add(spec)
        self.add_methods(methods)
        self.networks, self.path_pattern = networks, None if path_pattern is None else path_pattern.fullmatch
        if share is not None:
            self.add_share(share)
        self.needs_client = networks is not None or (share is not None and share.by is None)

    def __dealloc__(self):
        free(self.conditions)

    def add(self, spec):
        cdef Condition* condition = &self.conditions[self.count]
        name, wanted = self.kept[self.count]
        condition.source, condition.test, condition.is_inverted = SOURCES[spec.source], TESTS[spec.test], spec.is_inverted
        condition.name, condition.name_len = <bytes>name, len(name)
        if condition.test == MATCHES:
            condition.pattern = self.patterns.index(wanted.fullmatch)
        elif condition.test != IS_PRESENT:
            condition.wanted, condition.wanted_len = <bytes>wanted, len(wanted)
        self.count += 1

    def add_methods(self, methods):
        cdef Method method
        self.other_methods = tuple([name for name in methods if method_of(<bytes>name, len(name)) == METHOD_OTHER])
        for name in methods:
            method = method_of(<bytes>name, len(name))
            self.methods |= <uint32_t>1 << <int>method

    def add_share(self, share):
        name = name_of(share.by, share.name)
        self.kept += (name,)
        self.share.millionths = share.millionths
        self.share.by = BY_CLIENT if share.by is None else SOURCES[share.by]
        self.share.name, self.share.name_len = <bytes>name, len(name)
        if len(share.salt) != 16:
            raise ValueError("the salt of a share has 16 bytes")
        memcpy(self.share.salt, <const char*><bytes>share.salt, 16)

    # hot
    cdef bint hold(self, Head head, text path, Py_ssize_t path_len, const Ip* client) noexcept:
        """Cost: what each condition has to look at; the cheap ones come first."""
        cdef int i, found
        if self.methods and not self.takes_method(head):
            return False
        if self.networks is not None and not self.networks.includes(client):
            return False
        for i in range(self.count):
            found = self.holds(&self.conditions[i], head)
            if found == UNKNOWN or found == self.conditions[i].is_inverted:
                return False
        if self.share.millionths and not self.is_in_share(head, client):
            return False
        if self.path_pattern is not None:
            return matches(<PyObject*>self.path_pattern, path, path_len) == HOLDS
        return True

    # hot
    cdef bint takes_method(self, Head head) noexcept:
        if not (self.methods >> <int>head.method) & 1:
            return False
        return head.method != METHOD_OTHER or self.names_method(head)

    cdef bint names_method(self, Head head) noexcept:
        """Methods that the parser does not know, which hardly any request has."""
        cdef Py_ssize_t i
        cdef PyObject* name
        for i in range(PyTuple_GET_SIZE(self.other_methods)):
            name = PyTuple_GET_ITEM(self.other_methods, i)
            if is_name(<bytes>name, head.base, head.method_len):
                return True
        return False

    # hot
    cdef int holds(self, const Condition* condition, Head head) noexcept:
        """HOLDS, FAILS or UNKNOWN, inverted or not."""
        cdef Value value = value_in(condition.source, head, condition.name, condition.name_len)
        cdef Py_ssize_t n = condition.wanted_len
        if value.p == NULL:
            return FAILS
        if condition.test == IS_PRESENT:
            return HOLDS
        if condition.test == MATCHES:
            return matches(PyTuple_GET_ITEM(self.patterns, condition.pattern), value.p, value.n)
        if condition.test == CONTAINS:
            return is_within(value.p, value.n, condition.wanted, n)
        if value.n < n or (condition.test == IS_EXACTLY and value.n != n):
            return FAILS
        return memcmp(value.p + (value.n - n if condition.test == ENDS_WITH else 0), condition.wanted, n) == 0

    # hot
    cdef bint is_in_share(self, Head head, const Ip* client) noexcept:
        """The same client always is, or never: its hash decides.  One without the field or cookie is not."""
        cdef Value value
        cdef uint64_t hashed
        if self.share.by == BY_CLIENT:
            value = Value(<text>client.octets, 16 if client.bits else 0)
        else:
            value = value_in(<Source>self.share.by, head, self.share.name, self.share.name_len)
        if value.p == NULL or value.n == 0:
            return False
        hashed = sp_siphash13(self.share.salt, <const unsigned char*>value.p, value.n)
        return (hashed >> 32) * MILLION >> 32 < self.share.millionths

    def takes(self, Head head not None, bytes path not None=b"/", bytes client not None=b""):
        cdef Ip ip
        read_ip(client, len(client), &ip)
        return self.hold(head, path, len(path), &ip)


cdef bytes name_of(source, name):
    """Names of fields are compared in lower case."""
    return b"" if name is None else name.lower() if source == "header" else name


# hot
cdef inline Value value_in(Source source, Head head, text name, Py_ssize_t n) noexcept:
    if source == IN_HEADER:
        return field_value(head, name, n)
    return query_value(head, name, n) if source == IN_QUERY else cookie_value(head, name, n)


cdef int matches(PyObject* fullmatch, text p, Py_ssize_t n) noexcept:
    """HOLDS, FAILS or UNKNOWN.  Cost: a call into RE2, and the text's length."""
    return sp_full_match(fullmatch, p, n) if is_utf8(p, n) else UNKNOWN


cdef inline bint is_name(bytes name, text p, Py_ssize_t n) noexcept:
    return PyBytes_GET_SIZE(name) == n and memcmp(PyBytes_AS_STRING(name), p, n) == 0


cdef bint is_utf8(text p, Py_ssize_t n) noexcept nogil:
    """RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF.  Cost: one look at each byte."""
    cdef text end = p + n
    cdef unsigned char lead, second
    cdef Py_ssize_t more
    while p < end:
        lead = <unsigned char>p[0]
        p += 1
        if lead < 0x80:
            continue
        if lead < 0xc2 or lead > 0xf4:
            return False
        more = 1 if lead < 0xe0 else 2 if lead < 0xf0 else 3
        if end - p < more:
            return False
        second = <unsigned char>p[0]
        if ((lead == 0xe0 and second < 0xa0) or (lead == 0xed and second > 0x9f)
                or (lead == 0xf0 and second < 0x90) or (lead == 0xf4 and second > 0x8f)):
            return False
        while more:
            if <unsigned char>p[0] & 0xc0 != 0x80:
                return False
            p += 1
            more -= 1
    return True


cdef bint is_within(text p, Py_ssize_t n, text wanted, Py_ssize_t wanted_len) noexcept nogil:
    """Cost: the product of both lengths at worst; both are bounded."""
    cdef Py_ssize_t i
    for i in range(n - wanted_len + 1):
        if memcmp(p + i, wanted, wanted_len) == 0:
            return True
    return False
