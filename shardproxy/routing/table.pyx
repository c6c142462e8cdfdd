"""The route table: a hash of hosts, and behind each a radix tree of paths that remembers the lowest order on the way."""

import os
from collections import namedtuple

from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcmp, memcpy

from shardproxy.routing.tree import ANY_HOST, NO_ROUTE as TREE_NO_ROUTE, breadth_first, group_by_host

Entry = namedtuple("Entry", "hosts path is_prefix")

cdef enum:
    MAX_HOST = 255          # longer names match no host, only routes for any
    NOWHERE = -1
    NO_ROUTE = 0x7fffffff

cdef struct Suffix:         # of a host, behind one of its dots
    uint64_t key
    uint32_t at


cdef class Table:
    def __cinit__(self, entries):
        if NO_ROUTE != TREE_NO_ROUTE:
            raise AssertionError("tree.py and table.pyx disagree on NO_ROUTE")
        self.seed = int.from_bytes(os.urandom(8), "little")
        self.any_root = NOWHERE
        self.build(group_by_host(entries))

    def __dealloc__(self):
        free(self.exact.entries)

    def __repr__(self):
        return f"<Table nodes={self.node_count} hosts={self.exact.count} wildcards={self.wildcards.count}>"

    # Building ------------------------------------------------------------------------------------------------------

    cdef build(self, dict groups):
        cdef list nodes, first_child
        roots = {host: root for root, host in enumerate(groups)}
        exact = {host: root for host, root in roots.items() if host != ANY_HOST and not host.startswith(b"*.")}
        wildcards = {host[2:]: root for host, root in roots.items() if host.startswith(b"*.")}
        nodes, first_child = breadth_first(groups.values())
        in_trees = sum([len(node.label) + len(node.children) for node in nodes])
        exact_length = sum(map(len, exact))
        self.node_count = len(nodes)
        self.allocate(table_size(exact), table_size(wildcards), in_trees + exact_length + sum(map(len, wildcards)))
        self.fill_nodes(nodes, first_child)
        self.fill_hosts(&self.exact, exact, in_trees)
        self.fill_hosts(&self.wildcards, wildcards, in_trees + exact_length)
        self.any_root = roots.get(ANY_HOST, NOWHERE)

    cdef allocate(self, size_t exact, size_t wildcards, size_t characters):
        """One block: both tables of hosts (8-byte aligned first), the nodes, the characters."""
        cdef size_t hosts = exact + wildcards
        cdef char* block = <char*>calloc(1, hosts * sizeof(HostEntry) + self.node_count * sizeof(Node) + characters)
        if block == NULL:
            raise MemoryError
        self.exact.entries = <HostEntry*>block
        self.exact.mask = <uint32_t>(exact - 1)
        self.wildcards.entries = self.exact.entries + exact
        self.wildcards.mask = <uint32_t>(wildcards - 1)
        self.nodes = <Node*>(self.exact.entries + hosts)
        self.characters = <char*>(self.nodes + self.node_count)

    cdef fill_nodes(self, list nodes, list first_child):
        cdef Node* node
        cdef bytes label, firsts
        cdef uint32_t at = 0
        for i, tree in enumerate(nodes):
            node = &self.nodes[i]
            label, firsts = tree.label, bytes(sorted(tree.children))
            node.label, node.label_len = at, len(label)
            node.first_bytes, node.children = at + len(label), len(firsts)
            node.first_child = first_child[i]
            node.prefix_order, node.exact_order = tree.prefix_order, tree.exact_order
            memcpy(self.characters + at, <text>label, len(label))
            memcpy(self.characters + at + len(label), <text>firsts, len(firsts))
            at += len(label) + len(firsts)

    cdef fill_hosts(self, HostTable* table, dict roots, uint32_t at):
        """The names go into `characters` from `at` on."""
        cdef HostEntry* entry
        cdef bytes name
        cdef uint64_t key
        cdef uint32_t slot
        table.count = len(roots)
        for name, root in roots.items():
            key = hash_name(self.seed, name, len(name))
            slot = <uint32_t>key & table.mask
            while table.entries[slot].hash:
                slot = (slot + 1) & table.mask
            entry = &table.entries[slot]
            entry.hash, entry.root = key, root
            entry.name, entry.name_len = at, len(name)
            memcpy(self.characters + at, <text>name, len(name))
            at += len(name)

    # Finding -------------------------------------------------------------------------------------------------------

    # hot
    cdef int find(self, text host, Py_ssize_t host_len, text path, Py_ssize_t path_len) noexcept nogil:
        """The index of the route, or -1."""
        cdef int order
        if self.exact.count or self.wildcards.count:
            order = self.find_by_host(host, host_len, path, path_len)
            if order != NOWHERE:
                return order
        return self.walk(self.any_root, path, path_len)

    # hot
    cdef int find_by_host(self, text host, Py_ssize_t host_len, text path, Py_ssize_t path_len) noexcept nogil:
        """The exact name, then each `*.suffix` from the longest on.

        Hashed from its end, so that one pass over the name gives the keys of all its suffixes.
        """
        cdef char[MAX_HOST] name
        cdef Suffix[MAX_HOST] suffixes
        cdef Py_ssize_t n = host_name(name, host, host_len)
        cdef Py_ssize_t i = n
        cdef uint64_t key = self.seed
        cdef int order
        cdef int count = 0
        while i > 0:
            i -= 1
            if name[i] == b'.' and i > 0:
                suffixes[count].key, suffixes[count].at = finish_hash(key), <uint32_t>(i + 1)
                count += 1
            key = hash_byte(key, name[i])
        order = self.walk(self.host_root(&self.exact, name, n, finish_hash(key)), path, path_len)
        while order == NOWHERE and count > 0:
            count -= 1
            i = suffixes[count].at
            order = self.walk(self.host_root(&self.wildcards, name + i, n - i, suffixes[count].key), path, path_len)
        return order

    # hot
    cdef int32_t host_root(self, const HostTable* table, text name, Py_ssize_t n, uint64_t key) noexcept nogil:
        """Where the tree of a host begins, or NOWHERE; `key` is the hash of `name`."""
        cdef uint32_t at = <uint32_t>key & table.mask
        cdef const HostEntry* entry
        while True:
            entry = &table.entries[at]
            if entry.hash == 0:
                return NOWHERE
            if entry.hash == key and entry.name_len == n and memcmp(self.characters + entry.name, name, n) == 0:
                return <int32_t>entry.root
            at = (at + 1) & table.mask

    # hot
    cdef int32_t walk(self, int32_t root, text path, Py_ssize_t path_len) noexcept nogil:
        """The lowest order among the prefixes on the way and the exact path at its end, or NOWHERE."""
        if root == NOWHERE:
            return NOWHERE
        cdef const Node* node = &self.nodes[root]
        cdef int32_t best = node.prefix_order
        cdef text end = path + path_len
        while path < end:
            node = child(self.nodes, self.characters, node, path, end - path)
            if node == NULL:
                return order_or_nowhere(best)
            path += node.label_len
            best = min(best, node.prefix_order)
        return order_or_nowhere(min(best, node.exact_order))

    # From Python ---------------------------------------------------------------------------------------------------

    def match(self, bytes host, bytes path):
        return self.find(host, len(host), path, len(path))

    def depth(self, bytes pattern, bytes path):
        cdef bint is_wildcard = pattern.startswith(b"*.")
        cdef bytes name = pattern[2:] if is_wildcard else pattern
        cdef uint64_t key = hash_name(self.seed, name, len(name))
        cdef int32_t root = self.any_root
        if pattern != ANY_HOST:
            root = self.host_root(&self.wildcards if is_wildcard else &self.exact, name, len(name), key)
        return 0 if root == NOWHERE else self.visited(root, path, len(path))

    cdef int visited(self, int32_t root, text path, Py_ssize_t path_len) noexcept nogil:
        """How many nodes `walk` comes to."""
        cdef const Node* node = &self.nodes[root]
        cdef text end = path + path_len
        cdef int count = 0
        while node != NULL:
            count += 1
            path += node.label_len
            if path >= end:
                break
            node = child(self.nodes, self.characters, node, path, end - path)
        return count


cdef size_t table_size(dict names):
    """A power of two that leaves at least half of the slots free, so that a search always ends."""
    cdef size_t size = 4
    while size < 2 * <size_t>len(names):
        size *= 2
    return size


# hot
cdef inline const Node* child(const Node* nodes, text characters, const Node* node,
                              text path, Py_ssize_t left) noexcept nogil:
    """The node below that the next bytes of a path lead to, or NULL; `left` is at least 1."""
    cdef text firsts = characters + node.first_bytes
    cdef text found
    if node.children == 0:
        return NULL
    found = <text>memchr(firsts, <unsigned char>path[0], node.children)
    if found == NULL:
        return NULL
    node = nodes + node.first_child + (found - firsts)
    if left < <Py_ssize_t>node.label_len or memcmp(characters + node.label, path, node.label_len) != 0:
        return NULL
    return node


cdef inline int order_or_nowhere(int32_t order) noexcept nogil:
    return NOWHERE if order == NO_ROUTE else order


cdef inline uint64_t hash_name(uint64_t seed, text name, Py_ssize_t n) noexcept nogil:
    """FNV-1a from a random start and from the name's end; clients only look up, so they cannot pile up collisions."""
    cdef uint64_t key = seed
    while n > 0:
        n -= 1
        key = hash_byte(key, name[n])
    return finish_hash(key)


cdef inline uint64_t hash_byte(uint64_t key, char byte) noexcept nogil:
    return (key ^ <unsigned char>byte) * <uint64_t>1099511628211


cdef inline uint64_t finish_hash(uint64_t key) noexcept nogil:
    """Mixes the upper bits down (splitmix64's last steps): FNV's low bits alone know only the low bits of the name."""
    key = (key ^ (key >> 30)) * <uint64_t>0xbf58476d1ce4e5b9
    key = (key ^ (key >> 27)) * <uint64_t>0x94d049bb133111eb
    key = key ^ (key >> 31)
    return key if key else 1  # 0 means free


cdef inline Py_ssize_t host_name(char* out, text host, Py_ssize_t n) noexcept nogil:
    """Lower case, without port and without the root's dot; 0 if it is too long to be one."""
    cdef Py_ssize_t i
    cdef Py_ssize_t end = without_port(host, n)
    cdef char c
    if end > 0 and host[end - 1] == b'.':
        end -= 1
    if end > MAX_HOST:
        return 0
    for i in range(end):
        c = host[i]
        out[i] = c | 0x20 if b'A' <= c <= b'Z' else c
    return end


cdef inline Py_ssize_t without_port(text host, Py_ssize_t n) noexcept nogil:
    """The length up to a `:` that only digits follow; the colons of `[::1]` stand before its `]`."""
    cdef Py_ssize_t i = n
    while i > 0:
        i -= 1
        if host[i] == b':':
            return i
        if host[i] < b'0' or host[i] > b'9':
            return n
    return n
