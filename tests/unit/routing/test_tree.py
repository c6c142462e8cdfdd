"""Radix trees of paths, as plain Python builds them."""

from __future__ import annotations

from shardproxy.routing.table import Entry, Path
from shardproxy.routing.tree import ANY_HOST, SEGMENT, Tree, breadth_first, group_by_host


def tree_of(*paths: bytes) -> Tree:
    tree = Tree()
    for order, path in enumerate(paths):
        tree.add((path,), order, is_prefix=True, is_conditional=False)
    return tree


def labels(tree: Tree) -> list[bytes]:
    return [node.label for node in breadth_first([tree])[0]]


def test_paths_share_the_nodes_of_their_common_beginning() -> None:
    assert labels(tree_of(b"/users/list", b"/users/last")) == [b"", b"/users/l", b"ast", b"ist"]


def test_a_path_that_ends_inside_a_label_splits_it() -> None:
    tree = tree_of(b"/users", b"/us")
    assert labels(tree) == [b"", b"/us", b"ers"]
    above = tree.children[ord("/")]
    assert (above.prefixes.orders, above.in_order()[0].prefixes.orders) == ([1], [0])


def test_a_node_keeps_the_orders_of_each_kind_up_to_the_first_that_asks_for_nothing_more() -> None:
    tree = Tree()
    for order, is_conditional in ((3, True), (5, False), (6, True), (7, False)):
        tree.add((b"/",), order, is_prefix=True, is_conditional=is_conditional)
    tree.add((b"/",), 4, is_prefix=False, is_conditional=True)
    node = tree.children[ord("/")]
    assert (node.prefixes.orders, node.paths.orders) == ([3, 5], [4])


def test_any_segment_has_a_node_of_its_own() -> None:
    tree = Tree()
    for order, path in enumerate(((b"/u/", SEGMENT), (b"/u/", SEGMENT, b"/p"), (b"/u/me",))):
        tree.add(path, order, is_prefix=False, is_conditional=False)
    behind = tree.children[ord("/")].wild
    assert behind is not None
    assert (behind.paths.orders, behind.in_order()[0].label) == ([0], b"/p")
    nodes, _, wild = breadth_first([tree])
    assert [nodes[at] for at in wild if at >= 0] == [behind]


def test_the_empty_path_is_the_root() -> None:
    tree = tree_of(b"")
    assert (labels(tree), tree.prefixes.orders) == ([b""], [0])


def test_breadth_first_puts_children_side_by_side_in_the_order_of_their_bytes() -> None:
    nodes, first_child, _ = breadth_first([tree_of(b"b", b"a", b"ax"), tree_of(b"c")])
    assert [node.label for node in nodes] == [b"", b"", b"a", b"b", b"c", b"x"]
    assert first_child[:3] == [2, 4, 5]


def test_routes_are_grouped_by_host_and_those_without_one_belong_to_any() -> None:
    groups = group_by_host([Entry((b"a", b"*.b"), (Path((b"/",), True),)), Entry((), (Path((b"/x",), False),))])
    assert set(groups) == {b"a", b"*.b", ANY_HOST}
    assert groups[ANY_HOST].children[ord("/")].paths.orders == [1]
