"""The route table: a hash of hosts, and behind each a radix tree of paths that knows which routes end where.

Routes have an order; among those that end on the way of a path the lowest wins.  A route that asks for more than host and
path is found like all others, and whoever finds it and sees that it does not apply goes on searching behind it.
"""

import os
from collections import namedtuple

from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcmp, memcpy

from shardproxy.routing.tree import ANY_HOST, NO_ROUTE as TREE_NO_ROUTE, breadth_first, group_by_host

Path = namedtuple("Path", "pieces is_prefix")
Entry = namedtuple("Entry", "hosts paths is_conditional", defaults=[False])

cdef enum:
    MAX_HOST = 255          # longer names match no host, only routes for any
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
        hosts = f"hosts={self.exact.count} suffixes={self.suffixes.count} prefixes={self.prefixes.count}"
        return f"<Table nodes={self.node_count} {hosts}>"

    # Building ------------------------------------------------------------------------------------------------------

    cdef build(self, dict groups):
        cdef list nodes, first_child, wild
        cdef dict roots = {host: root for root, host in enumerate(groups)}
        suffixes = {host[2:]: root for host, root in roots.items() if host.startswith(b"*.")}
        prefixes = {host[:-2]: root for host, root in roots.items() if host.endswith(b".*")}
        exact = {host: root for host, root in roots.items() if host != ANY_HOST and b"*" not in host}
        nodes, first_child, wild = breadth_first(groups.values())
        in_trees = sum([len(node.label) + len(node.children) for node in nodes])
        self.node_count = len(nodes)
        self.order_count = sum([len(node.prefixes.orders) + len(node.paths.orders) for node in nodes])
        tables = [exact, suffixes, prefixes]
        self.allocate(sum(map(table_size, tables)), in_trees + sum([len(name) for names in tables for name in names]))
        self.fill_nodes(nodes, first_child, wild)
        self.suffixes.entries = self.exact.entries + table_size(exact)
        self.prefixes.entries = self.suffixes.entries + table_size(suffixes)
        self.fill_hosts(&self.exact, exact, in_trees)
        self.fill_hosts(&self.suffixes, suffixes, in_trees + sum(map(len, exact)))
        self.fill_hosts(&self.prefixes, prefixes, in_trees + sum(map(len, exact)) + sum(map(len, suffixes)))
        self.any_root = roots.get(ANY_HOST, NOWHERE)

    cdef allocate(self, size_t hosts, size_t characters):
        """One block: the tables of hosts (8-byte aligned first), the nodes, the orders, the characters."""
        cdef size_t nodes = self.node_count * sizeof(Node), orders = self.order_count * sizeof(int32_t)
        cdef char* block = <char*>calloc(1, hosts * sizeof(HostEntry) + nodes + orders + characters)
        if block == NULL:
            raise MemoryError
        self.exact.entries = <HostEntry*>block
        self.nodes = <Node*>(self.exact.entries + hosts)
        self.orders = <int32_t*>(self.nodes + self.node_count)
        self.characters = <char*>(self.orders + self.order_count)
        self.order_count = 0

    cdef fill_nodes(self, list nodes, list first_child, list wild):
        cdef Node* node
        cdef bytes label, firsts
        cdef uint32_t at = 0
        for i, tree in enumerate(nodes):
            node = &self.nodes[i]
            label, firsts = tree.label, bytes(sorted(tree.children))
            node.label, node.label_len = at, len(label)
            node.first_bytes, node.children = at + len(label), len(firsts)
            node.first_child, node.wild = first_child[i], wild[i]
            node.prefixes, node.paths = self.fill_orders(tree.prefixes.orders), self.fill_orders(tree.paths.orders)
            memcpy(self.characters + at, <text>label, len(label))
            memcpy(self.characters + at + len(label), <text>firsts, len(firsts))
            at += len(label) + len(firsts)

    cdef Ends fill_orders(self, list orders):
        cdef Ends ends
        ends.first, ends.at, ends.count = orders[0] if orders else NO_ROUTE, self.order_count, len(orders)
        for order in orders:
            self.orders[self.order_count] = order
            self.order_count += 1
        return ends

    cdef fill_hosts(self, HostTable* table, dict roots, uint32_t at):
        """The names go into `characters` from `at` on."""
        cdef HostEntry* entry
        cdef bytes name
        cdef uint64_t key
        cdef uint32_t slot
        table.count, table.mask = len(roots), <uint32_t>(table_size(roots) - 1)
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
    cdef int find(self, text host, Py_ssize_t host_len, text path, Py_ssize_t path_len, Cursor* cursor) noexcept nogil:
        """The index of the next route behind the cursor, which then stands there; or -1."""
        cdef Quest quest
        cdef int order = NOWHERE
        quest.path, quest.end = path, path + path_len
        quest.after, quest.wanted, quest.group = cursor.order, cursor.group, 0
        if self.exact.count or self.suffixes.count or self.prefixes.count:
            order = self.find_by_host(host, host_len, &quest)
        if order == NOWHERE:
            order = self.try_group(self.any_root, &quest)
        cursor.group, cursor.order = quest.group - 1, order
        return order

    # hot
    cdef int find_by_host(self, text host, Py_ssize_t host_len, Quest* quest) noexcept nogil:
        """The exact name, then each `*.suffix` from the longest on, then each `prefix.*` from the longest on.

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
        order = self.try_group(self.host_root(&self.exact, name, n, finish_hash(key)), quest)
        while order == NOWHERE and count > 0:
            count -= 1
            i = suffixes[count].at
            order = self.try_group(self.host_root(&self.suffixes, name + i, n - i, suffixes[count].key), quest)
        return self.find_by_prefix(name, n, quest) if order == NOWHERE and self.prefixes.count else order

    cdef int find_by_prefix(self, text name, Py_ssize_t n, Quest* quest) noexcept nogil:
        """Cost: the name is hashed once more for each of its labels; only where a route names such a host."""
        cdef int order = NOWHERE
        while order == NOWHERE and n > 0:
            n -= 1
            if name[n] == b'.' and n > 0:
                order = self.try_group(self.host_root(&self.prefixes, name, n, hash_name(self.seed, name, n)), quest)
        return order

    # hot
    cdef int try_group(self, int32_t root, Quest* quest) noexcept nogil:
        """The lowest order among the routes of a host, unless the search has come further already."""
        cdef int32_t after = NOWHERE
        quest.group += 1
        if root == NOWHERE or quest.group - 1 < quest.wanted:
            return NOWHERE
        if quest.group - 1 == quest.wanted:
            after = quest.after
        return order_or_nowhere(self.walk(&self.nodes[root], quest.path, quest.end, after, NO_ROUTE))

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
    cdef int32_t walk(self, const Node* node, text path, text end, int32_t after, int32_t best) noexcept nogil:
        """The lowest order above `after` among the prefixes on the way and the paths at its end, or `best`, if lower.

        Where a node goes on with any segment as well, both ways are walked: 2^n at most for n such pieces of a path.
        """
        cdef text stop
        best = min(best, next_of(self.orders, &node.prefixes, after))
        while path < end:
            if node.wild != NOWHERE:
                stop = <text>memchr(path, b'/', end - path)
                if stop == NULL:
                    stop = end
                if stop > path:
                    best = self.walk(&self.nodes[node.wild], stop, end, after, best)
            node = child(self.nodes, self.characters, node, path, end - path)
            if node == NULL:
                return best
            path += node.label_len
            best = min(best, next_of(self.orders, &node.prefixes, after))
        return min(best, next_of(self.orders, &node.paths, after))

    # From Python ---------------------------------------------------------------------------------------------------

    def match(self, bytes host, bytes path):
        cdef Cursor cursor = Cursor(0, NOWHERE)
        return self.find(host, len(host), path, len(path), &cursor)

    def matches(self, bytes host, bytes path):
        cdef Cursor cursor = Cursor(0, NOWHERE)
        cdef list found = []
        while self.find(host, len(host), path, len(path), &cursor) != NOWHERE:
            found.append(cursor.order)
        return found

    def depth(self, bytes pattern, bytes path):
        cdef const HostTable* table = &self.exact
        cdef bytes name = pattern
        if pattern.startswith(b"*."):
            table, name = &self.suffixes, pattern[2:]
        elif pattern.endswith(b".*"):
            table, name = &self.prefixes, pattern[:-2]
        cdef uint64_t key = hash_name(self.seed, name, len(name))
        cdef int32_t root = self.any_root
        if pattern != ANY_HOST:
            root = self.host_root(table, name, len(name), key)
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


# hot
cdef inline int32_t next_of(const int32_t* orders, const Ends* ends, int32_t after) noexcept nogil:
    """The lowest order above `after`; by halving where it is not the first."""
    cdef uint32_t low = 0, high = ends.count, middle
    if ends.first > after or ends.count == 0:
        return ends.first
    orders += ends.at
    while low < high:
        middle = (low + high) // 2
        if orders[middle] > after:
            high = middle
        else:
            low = middle + 1
    return orders[low] if low < ends.count else NO_ROUTE


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
