# What the access log is told of an exchange.
from libc.stdint cimport int64_t

from shardproxy.http1.head cimport Head
from shardproxy.observe.access_log cimport Format, Record
from shardproxy.observe.log_file cimport LogFile
from .ends cimport Journal
from .exchange cimport Exchange
from .process cimport Process

cdef class AccessLog(Journal):
    cdef Process process
    cdef LogFile file
    cdef Format format
    cdef bytes listener
    cdef int64_t flush_ns       # how long a line may wait
    cdef int dropped            # counter

    cdef void describe_request(self, Record* record, Head head) noexcept
    cdef void describe_way(self, Record* record, Exchange exchange) noexcept
    cdef void write(self, Record* record) noexcept
