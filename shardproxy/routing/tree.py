"""Radix trees of paths, built once in plain Python; table.pyx copies them into flat C arrays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from os.path import commonprefix
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shardproxy.routing.table import Entry

ANY_HOST = b""  # the group of routes that name no host
NO_ROUTE = 2**31 - 1  # an order that every route's is below
SEGMENT = None  # a piece of a path that is any one segment, not empty


@dataclass(slots=True)
class Orders:
    """The routes that end at a node, in order, up to the first that takes every request that comes so far."""

    orders: list[int] = field(default_factory=list)
    is_closed: bool = False

    def add(self, order: int, *, is_conditional: bool) -> None:
        if not self.is_closed:
            self.orders.append(order)
            self.is_closed = not is_conditional


@dataclass(slots=True)
class Tree:
    """A node: the bytes on the way to it, the routes whose prefix ends here, and those whose path does.

    `wild` is the node behind any one segment.
    """

    label: bytes = b""
    prefixes: Orders = field(default_factory=Orders)
    paths: Orders = field(default_factory=Orders)
    children: dict[int, Tree] = field(default_factory=dict)
    wild: Tree | None = None

    def add(self, path: Iterable[bytes | None], order: int, *, is_prefix: bool, is_conditional: bool) -> None:
        """`path` is in pieces: bytes, and `SEGMENT` between them."""
        node = self
        for piece in path:
            node = node._behind_any_segment() if piece is SEGMENT else node._descend(piece)
        ends = node.prefixes if is_prefix else node.paths
        ends.add(order, is_conditional=is_conditional)

    def in_order(self) -> list[Tree]:
        """The nodes below this one, but for `wild`."""
        return [self.children[byte] for byte in sorted(self.children)]

    def _behind_any_segment(self) -> Tree:
        if self.wild is None:
            self.wild = Tree()
        return self.wild

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
    for order, entry in enumerate(entries):
        for host in entry.hosts or (ANY_HOST,):
            tree = groups.setdefault(host, Tree())
            for path in entry.paths:
                tree.add(path.pieces, order, is_prefix=path.is_prefix, is_conditional=entry.is_conditional)
    return groups


def breadth_first(roots: Iterable[Tree]) -> tuple[list[Tree], list[int], list[int]]:
    """All nodes, the roots first and the children of each as neighbours; where each one's children begin; and which
    is the one behind any segment, -1 for none."""
    nodes = list(roots)
    first_child: list[int] = []
    wild: list[int] = []
    for node in nodes:  # grows while it is walked
        first_child.append(len(nodes))
        nodes.extend(node.in_order())
        wild.append(-1 if node.wild is None else len(nodes))
        if node.wild is not None:
            nodes.append(node.wild)
    return nodes, first_child, wild
