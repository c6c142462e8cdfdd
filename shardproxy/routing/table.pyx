"""The route table: a hash of hosts, and behind each a radix tree of paths that remembers the lowest order on the way."""

import os
from collections import namedtuple

from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcmp, memcpy

from shardproxy.routing.tree import NO_ROUTE as TREE_NO_ROUTE, Tree

Entry = namedtuple("Entry", "hosts path is_prefix")

cdef enum:
    MAX_HOST = 255          # longer names match no host, only routes for any
    NOWHERE = -1
    NO_ROUTE = 0x7fffffff


cdef class Table:
    def __cinit__(self, entries):
        if NO_ROUTE != TREE_NO_ROUTE:
            raise AssertionError("tree.py and table.pyx disagree on NO_ROUTE")
        self.seed = int.from_bytes(os.urandom(8), "little")
        self.any_root = NOWHERE
        self.build(group_by_host(entries))

    def __dealloc__(self):
        free(self.nodes)
        free(self.characters)
        free(self.exact.entries)
        free(self.wildcards.entries)

    def __repr__(self):
        return f"<Table nodes={self.node_count} hosts={self.exact.count} wildcards={self.wildcards.count}>"

    # Building ------------------------------------------------------------------------------------------------------

    cdef build(self, dict groups):
        ordered = []
        roots = {}
        for host, tree in groups.items():
            roots[host] = len(ordered)
            ordered.append(tree)
        first_child = {}
        at = 0
        while at < len(ordered):        # breadth first, so that the children of a node are neighbours
            first_child[at] = len(ordered)
            ordered.extend(ordered[at].children[key] for key in sorted(ordered[at].children))
            at += 1
        self.fill_nodes(ordered, first_child, groups)
        if b"" in roots:
            self.any_root = roots[b""]

    cdef fill_nodes(self, list ordered, dict first_child, dict groups):
        cdef Node* node
        cdef bytes blob
        characters = bytearray()
        self.node_count = len(ordered)
        self.nodes = <Node*>calloc(max(len(ordered), 1), sizeof(Node))
        if self.nodes == NULL:
            raise MemoryError
        for i, tree in enumerate(ordered):
            node = &self.nodes[i]
            node.label, node.label_len = len(characters), len(tree.label)
            characters += tree.label
            node.first_bytes, node.children = len(characters), len(tree.children)
            characters += bytes(sorted(tree.children))
            node.first_child = first_child[i]
            node.prefix_order, node.exact_order = tree.prefix_order, tree.exact_order
        offsets = {}
        for host in groups:
            offsets[host] = len(characters)
            characters += host
        blob = bytes(characters)
        self.characters = <char*>malloc(max(len(blob), 1))
        if self.characters == NULL:
            raise MemoryError
        memcpy(self.characters, <const char*>blob, len(blob))
        numbered = {host: i for i, host in enumerate(groups)}
        self.fill_hosts(&self.exact, {h: r for h, r in numbered.items() if h and not h.startswith(b"*.")}, offsets)
        self.fill_hosts(&self.wildcards, {h[2:]: r for h, r in numbered.items() if h.startswith(b"*.")},
                        {h[2:]: at + 2 for h, at in offsets.items() if h.startswith(b"*.")})

    cdef fill_hosts(self, HostTable* table, dict roots, dict offsets):
        cdef uint32_t size = 4, at
        cdef HostEntry* entry
        cdef uint64_t key
        while size < 2 * len(roots):
            size *= 2
        table.entries = <HostEntry*>calloc(size, sizeof(HostEntry))
        if table.entries == NULL:
            raise MemoryError
        table.mask = size - 1
        table.count = len(roots)
        for name, root in roots.items():
            key = hash_name(self.seed, name, len(name))
            at = <uint32_t>key & table.mask
            while table.entries[at].hash:
                at = (at + 1) & table.mask
            entry = &table.entries[at]
            entry.hash, entry.root = key, root
            entry.name, entry.name_len = offsets[name], len(name)

    # Finding -------------------------------------------------------------------------------------------------------

    # hot
    cdef int find(self, text host, Py_ssize_t host_len, text path, Py_ssize_t path_len) noexcept nogil:
        """The index of the route, or -1."""
        cdef int order
        if self.exact.count or self.wildcards.count:
            order = self.find_by_host(host, host_len, path, path_len)
            if order != NOWHERE:
                return order
        if self.any_root == NOWHERE:
            return NOWHERE
        return order_or_nowhere(self.walk(<uint32_t>self.any_root, path, path_len))

    # hot
    cdef int find_by_host(self, text host, Py_ssize_t host_len, text path, Py_ssize_t path_len) noexcept nogil:
        """The exact name, then each `*.suffix` from the longest on.  Cost: a hash a label."""
        cdef char[MAX_HOST] name
        cdef Py_ssize_t n = host_name(name, host, host_len)
        cdef Py_ssize_t i
        cdef int32_t root = self.host_root(&self.exact, name, n)
        cdef int order
        if root != NOWHERE:
            order = order_or_nowhere(self.walk(<uint32_t>root, path, path_len))
            if order != NOWHERE:
                return order
        if self.wildcards.count == 0:
            return NOWHERE
        for i in range(1, n):
            if name[i] == b'.':
                root = self.host_root(&self.wildcards, name + i + 1, n - i - 1)
                if root != NOWHERE:
                    order = order_or_nowhere(self.walk(<uint32_t>root, path, path_len))
                    if order != NOWHERE:
                        return order
        return NOWHERE

    # hot
    cdef int32_t host_root(self, const HostTable* table, text name, Py_ssize_t n) noexcept nogil:
        cdef uint64_t key
        cdef uint32_t at
        cdef const HostEntry* entry
        if table.count == 0 or n <= 0:
            return NOWHERE
        key = hash_name(self.seed, name, n)
        at = <uint32_t>key & table.mask
        while True:
            entry = &table.entries[at]
            if entry.hash == 0:
                return NOWHERE
            if entry.hash == key and entry.name_len == n and memcmp(self.characters + entry.name, name, n) == 0:
                return <int32_t>entry.root
            at = (at + 1) & table.mask

    # hot
    cdef int32_t walk(self, uint32_t root, text path, Py_ssize_t path_len) noexcept nogil:
        """The lowest order among the prefixes on the way and the exact path at its end."""
        cdef const Node* node = &self.nodes[root]
        cdef int32_t best = node.prefix_order
        cdef text end = path + path_len
        cdef text firsts
        cdef text found
        while path < end:
            if node.children == 0:
                return best
            firsts = self.characters + node.first_bytes
            found = <text>memchr(firsts, <unsigned char>path[0], node.children)
            if found == NULL:
                return best
            node = &self.nodes[node.first_child + (found - firsts)]
            if end - path < node.label_len or memcmp(self.characters + node.label, path, node.label_len) != 0:
                return best
            path += node.label_len
            if node.prefix_order < best:
                best = node.prefix_order
        return node.exact_order if node.exact_order < best else best

    def match(self, bytes host, bytes path):
        return self.find(host, len(host), path, len(path))


cdef dict group_by_host(entries):
    """A tree for each host; routes without hosts are those of b""."""
    groups = {}
    for order, (hosts, path, is_prefix) in enumerate(entries):
        for host in hosts or (b"",):
            groups.setdefault(host, Tree()).add(path, order, is_prefix=is_prefix)
    return groups


cdef inline int order_or_nowhere(int32_t order) noexcept nogil:
    return NOWHERE if order == NO_ROUTE else order


cdef inline uint64_t hash_name(uint64_t seed, text name, Py_ssize_t n) noexcept nogil:
    """FNV-1a from a random start.  Clients only look up, so collisions cannot be piled up from outside."""
    cdef uint64_t key = seed ^ <uint64_t>14695981039346656037
    cdef Py_ssize_t i
    for i in range(n):
        key = (key ^ <unsigned char>name[i]) * <uint64_t>1099511628211
    return key | 1  # 0 means free


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
    cdef Py_ssize_t i = n
    while i > 0:
        i -= 1
        if host[i] == b':':
            return i
        if host[i] < b'0' or host[i] > b'9':
            return n
    return n
