"""Radix trees of paths, built once in plain Python; table.pyx flattens them into C arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from os.path import commonprefix

NO_ROUTE = 2**31 - 1  # an order that every route's is below


@dataclass
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

    def _descend(self, path: bytes) -> Tree:
        """The node of `path`, made if it is not there."""
        if not path:
            return self
        child = self.children.get(path[0])
        if child is None:
            child = self.children[path[0]] = Tree(label=path)
            return child
        shared = len(commonprefix([child.label, path]))
        if shared < len(child.label):
            child = self.children[path[0]] = child._split(shared)
        return child._descend(path[shared:])

    def _split(self, at: int) -> Tree:
        """A new node above this one, which keeps the first `at` bytes of the label."""
        above = Tree(label=self.label[:at])
        self.label = self.label[at:]
        above.children[self.label[0]] = self
        return above
