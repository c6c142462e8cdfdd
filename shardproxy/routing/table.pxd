# Host and path to route, in time that does not grow with the number of routes. Immutable; one block of flat C arrays.
from libc.stdint cimport int32_t, uint32_t, uint64_t

ctypedef const char* text

cdef struct Node:
    # A node of a radix tree of paths; the root of each host's tree has an empty label.
    uint32_t label, label_len       # in `characters`: what is on the way to this node
    uint32_t first_bytes            # in `characters`: the first byte of each child's label, in the children's order
    uint32_t first_child, children  # neighbours in `nodes`
    int32_t prefix_order            # of the first route whose prefix ends here; NO_ROUTE
    int32_t exact_order             # of the first route whose path ends here; NO_ROUTE

cdef struct HostEntry:
    uint64_t hash                   # 0 = free
    uint32_t name, name_len         # in `characters`
    uint32_t root                   # in `nodes`

cdef struct HostTable:
    HostEntry* entries              # open addressing, at most half full
    uint32_t mask
    uint32_t count

cdef class Table:
    cdef Node* nodes
    cdef char* characters
    cdef HostTable exact            # full names; its entries begin the block that holds all arrays
    cdef HostTable wildcards        # what stands behind `*.`
    cdef int32_t any_root           # -1 = every route names hosts
    cdef uint64_t seed
    cdef readonly int node_count

    # per request
    cdef int find(self, text host, Py_ssize_t host_len, text path, Py_ssize_t path_len) noexcept nogil
    cdef int find_by_host(self, text host, Py_ssize_t host_len, text path, Py_ssize_t path_len) noexcept nogil
    cdef int32_t host_root(self, const HostTable* table, text name, Py_ssize_t n, uint64_t key) noexcept nogil
    cdef int32_t walk(self, int32_t root, text path, Py_ssize_t path_len) noexcept nogil

    # building
    cdef build(self, dict groups)
    cdef allocate(self, size_t exact, size_t wildcards, size_t characters)
    cdef fill_nodes(self, list nodes, list first_child)
    cdef fill_hosts(self, HostTable* table, dict roots, uint32_t at)

    # for tests
    cdef int visited(self, int32_t root, text path, Py_ssize_t path_len) noexcept nogil
