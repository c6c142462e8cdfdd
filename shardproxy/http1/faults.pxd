# The numbers of the faults; their meaning is the table in faults.py (a test holds the two together).
cpdef enum Fault:
    # 0 is what a C function gives back that Python has left with an exception: it must never read as "all is well"
    INTERNAL_ERROR = 0
    OK = 1
    NEED_MORE = 2
    # the client's request
    BAD_REQUEST_LINE = 3
    BAD_TARGET = 4
    BAD_VERSION = 5
    BAD_FIELD = 6
    BAD_LINE_END = 7
    BAD_HOST = 8
    BAD_LENGTH = 9
    BAD_CODING = 10
    AMBIGUOUS_LENGTH = 11
    BAD_CHUNK = 12
    BAD_TRAILER = 13
    HEAD_TOO_LARGE = 14
    TARGET_TOO_LONG = 15
    BODY_TOO_LARGE = 16
    HEAD_TIMEOUT = 17
    BODY_TIMEOUT = 18
    UNSUPPORTED_CODING = 19
    CONNECT_REFUSED = 20
    CLIENT_GONE = 21
    # ourselves
    NO_ROUTE = 22
    RATE_LIMITED = 23
    OVERFLOW = 24
    NO_ENDPOINT = 25
    # the upstream
    CONNECT_FAILED = 26
    CONNECT_TIMEOUT = 27
    UPSTREAM_GONE = 28
    BAD_RESPONSE = 29
    RESPONSE_TIMEOUT = 30
    RESPONSE_CUT = 31
    RESPONSE_STALLED = 32
    DRAIN_CUT = 33
    TRUNCATED_REQUEST = 34
    STALE_CONNECTION = 35
    BAD_PROXY_HEADER = 36
    TOO_MANY_FROM_ADDRESS = 37
    QUEUE_TIMEOUT = 38
    SHED = 39
    NO_RESOURCES = 40
    FAULTS = 41
