"""Radix trees of paths, as plain Python builds them."""

from __future__ import annotations

from shardproxy.routing.table import Entry
from shardproxy.routing.tree import ANY_HOST, NO_ROUTE, Tree, breadth_first, group_by_host


def tree_of(*paths: bytes) -> Tree:
    tree = Tree()
    for order, path in enumerate(paths):
        tree.add(path, order, is_prefix=True)
    return tree


def labels(tree: Tree) -> list[bytes]:
    return [node.label for node in breadth_first([tree])[0]]


def test_paths_share_the_nodes_of_their_common_beginning() -> None:
    assert labels(tree_of(b"/users/list", b"/users/last")) == [b"", b"/users/l", b"ast", b"ist"]


def test_a_path_that_ends_inside_a_label_splits_it() -> None:
    tree = tree_of(b"/users", b"/us")
    assert labels(tree) == [b"", b"/us", b"ers"]
    above = tree.children[ord("/")]
    assert (above.prefix_order, above.in_order()[0].prefix_order) == (1, 0)


def test_a_node_keeps_the_lowest_order_of_each_kind() -> None:
    tree = Tree()
    tree.add(b"/", 3, is_prefix=True)
    tree.add(b"/", 5, is_prefix=True)
    assert (tree.children[ord("/")].prefix_order, tree.children[ord("/")].exact_order) == (3, NO_ROUTE)
    tree.add(b"/", 4, is_prefix=False)
    assert tree.children[ord("/")].exact_order == 4


def test_the_empty_path_is_the_root() -> None:
    tree = tree_of(b"")
    assert (labels(tree), tree.prefix_order) == ([b""], 0)


def test_breadth_first_puts_children_side_by_side_in_the_order_of_their_bytes() -> None:
    nodes, first_child = breadth_first([tree_of(b"b", b"a", b"ax"), tree_of(b"c")])
    assert [node.label for node in nodes] == [b"", b"", b"a", b"b", b"c", b"x"]
    assert first_child[:3] == [2, 4, 5]


def test_routes_are_grouped_by_host_and_those_without_one_belong_to_any() -> None:
    groups = group_by_host([Entry((b"a", b"*.b"), b"/", True), Entry((), b"/x", False)])
    assert set(groups) == {b"a", b"*.b", ANY_HOST}
    assert groups[ANY_HOST].children[ord("/")].exact_order == 1
