"""Radix trees of paths, built once in plain Python; table.pyx copies them into flat C arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from os.path import commonprefix
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shardproxy.routing.table import Entry

ANY_HOST = b""  # the group of routes that name no host
NO_ROUTE = 2**31 - 1  # an order that every route's is below


@dataclass(slots=True)
class Tree:
    """A node: the bytes on the way to it, and the orders of the first routes that end here."""

    label: bytes = b""
    prefix_order: int = NO_ROUTE
    exact_order: int = NO_ROUTE
    children: dict[int, Tree] = field(default_factory=dict)

    def add(self, path: bytes, order: int, *, is_prefix: bool) -> None:
        node = self._descend(path)
        if is_prefix:
            node.prefix_order = min(node.prefix_order, order)
        else:
            node.exact_order = min(node.exact_order, order)

    def first_covering(self, path: bytes, *, is_prefix: bool) -> int:
        """The order of the first route that takes all that this one would; the route itself must have been added."""
        nodes = list(self._way(path))
        covering = min(node.prefix_order for node in nodes)
        return covering if is_prefix else min(covering, nodes[-1].exact_order)

    def in_order(self) -> list[Tree]:
        """The nodes below this one."""
        return [self.children[byte] for byte in sorted(self.children)]

    def _way(self, path: bytes) -> Iterator[Tree]:
        """The nodes from here to that of `path`, which is in the tree."""
        node, at = self, 0
        yield node
        while at < len(path):
            node = node.children[path[at]]
            at += len(node.label)
            yield node

    def _descend(self, path: bytes) -> Tree:
        """The node of `path`, made if it is not there."""
        node = self
        while path:
            child = node.children.get(path[0])
            if child is None:
                child = node.children[path[0]] = Tree(label=path)
                return child
            shared = len(commonprefix([child.label, path]))
            if shared < len(child.label):
                child = node.children[path[0]] = child._split(shared)
            node, path = child, path[shared:]
        return node

    def _split(self, at: int) -> Tree:
        """A new node above this one, which keeps the first `at` bytes of the label."""
        above = Tree(label=self.label[:at])
        self.label = self.label[at:]
        above.children[self.label[0]] = self
        return above


def group_by_host(entries: Iterable[Entry]) -> dict[bytes, Tree]:
    """A tree for each host that a route names; routes without hosts are those of `ANY_HOST`."""
    groups: dict[bytes, Tree] = {}
    for order, (hosts, path, is_prefix) in enumerate(entries):
        for host in hosts or (ANY_HOST,):
            groups.setdefault(host, Tree()).add(path, order, is_prefix=is_prefix)
    return groups


def breadth_first(roots: Iterable[Tree]) -> tuple[list[Tree], list[int]]:
    """All nodes, the roots first and the children of each as neighbours; and where each one's children begin."""
    nodes = list(roots)
    first_child: list[int] = []
    for node in nodes:  # grows while it is walked
        first_child.append(len(nodes))
        nodes.extend(node.in_order())
    return nodes, first_child
