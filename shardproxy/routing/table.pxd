# Host and path to route, in time that does not grow with the number of routes. Immutable; one block of flat C arrays.
from libc.stdint cimport int32_t, uint32_t, uint64_t

ctypedef const char* text

cdef enum:
    NOWHERE = -1

cdef struct Ends:
    # Routes that end at a node: `first` is the lowest order, NO_ROUTE if there is none; all of them stand in `orders`.
    int32_t first
    uint32_t at, count

cdef struct Node:
    # A node of a radix tree of paths; the root of each host's tree has an empty label.
    uint32_t label, label_len       # in `characters`: what is on the way to this node
    uint32_t first_bytes            # in `characters`: the first byte of each child's label, in the children's order
    uint32_t first_child, children  # neighbours in `nodes`
    int32_t wild                    # the node behind any one segment; NOWHERE
    Ends prefixes                   # whose prefix ends here
    Ends paths                      # whose path ends here

cdef struct HostEntry:
    uint64_t hash                   # 0 = free
    uint32_t name, name_len         # in `characters`
    uint32_t root                   # in `nodes`

cdef struct HostTable:
    HostEntry* entries              # open addressing, at most half full
    uint32_t mask
    uint32_t count

# How far a search has come: the next one goes on behind it.
cdef struct Cursor:
    int group               # of hosts, from the most specific one
    int32_t order           # in that group; NOWHERE = from its first route

# What is looked for, and where.
cdef struct Quest:
    text path, end
    int32_t after           # orders above this
    int group, wanted       # the group that is tried next, and the first that counts

cdef class Table:
    cdef Node* nodes
    cdef char* characters
    cdef int32_t* orders
    cdef HostTable exact            # full names; its entries begin the block that holds all arrays
    cdef HostTable suffixes         # what stands behind `*.`
    cdef HostTable prefixes         # what stands before `.*`
    cdef int32_t any_root           # -1 = every route names hosts
    cdef uint64_t seed
    cdef readonly int node_count
    cdef int order_count

    # per request
    cdef int find(self, text host, Py_ssize_t host_len, text path, Py_ssize_t path_len, Cursor* cursor) noexcept nogil
    cdef int find_by_host(self, text host, Py_ssize_t host_len, Quest* quest) noexcept nogil
    cdef int find_by_prefix(self, text name, Py_ssize_t n, Quest* quest) noexcept nogil
    cdef int try_group(self, int32_t root, Quest* quest) noexcept nogil
    cdef int32_t host_root(self, const HostTable* table, text name, Py_ssize_t n, uint64_t key) noexcept nogil
    cdef int32_t walk(self, const Node* node, text path, text end, int32_t after, int32_t best) noexcept nogil

    # building
    cdef build(self, dict groups)
    cdef allocate(self, size_t hosts, size_t characters)
    cdef fill_nodes(self, list nodes, list first_child, list wild)
    cdef Ends fill_orders(self, list orders)
    cdef fill_hosts(self, HostTable* table, dict roots, uint32_t at)

    # for tests
    cdef int visited(self, int32_t root, text path, Py_ssize_t path_len) noexcept nogil
