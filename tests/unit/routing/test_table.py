"""The route table's rules, one by one; tests/property/test_routing.py compares it with a plain search."""

from __future__ import annotations

import random

import pytest

from shardproxy.routing.table import Entry, Path, Table

NOWHERE = -1


def prefix(path: bytes, *hosts: bytes) -> Entry:
    return Entry(hosts, (Path((path,), is_prefix=True),))


def exact(path: bytes, *hosts: bytes) -> Entry:
    return Entry(hosts, (Path((path,), is_prefix=False),))


def test_an_empty_table_matches_nothing() -> None:
    assert Table([]).match(b"example.com", b"/") == NOWHERE


def test_the_first_match_in_order_wins_even_over_a_longer_prefix() -> None:
    assert Table([prefix(b"/"), prefix(b"/api")]).match(b"", b"/api") == 0
    assert Table([prefix(b"/api"), prefix(b"/")]).match(b"", b"/api") == 0


def test_of_two_equal_routes_the_first_wins() -> None:
    assert Table([exact(b"/a"), exact(b"/a")]).match(b"", b"/a") == 0


def test_a_prefix_is_a_prefix_of_bytes() -> None:
    table = Table([prefix(b"/v1")])
    assert [table.match(b"", path) for path in (b"/v1", b"/v1x", b"/v1/x")] == [0, 0, 0]
    assert [table.match(b"", path) for path in (b"/v", b"/V1", b"/v2")] == [NOWHERE] * 3


def test_an_exact_path_takes_nothing_longer_or_shorter() -> None:
    table = Table([exact(b"/health")])
    assert table.match(b"", b"/health") == 0
    assert [table.match(b"", path) for path in (b"/healt", b"/health/", b"/")] == [NOWHERE] * 3


def test_an_exact_path_and_a_prefix_follow_the_order_too() -> None:
    assert Table([exact(b"/a"), prefix(b"/a")]).match(b"", b"/a") == 0
    assert Table([prefix(b"/a"), exact(b"/a")]).match(b"", b"/a") == 0
    assert Table([exact(b"/a"), prefix(b"/a")]).match(b"", b"/ab") == 1


def test_paths_that_share_their_beginning_are_told_apart() -> None:
    table = Table([exact(b"/users/list"), exact(b"/users/last"), prefix(b"/users/li")])
    assert table.match(b"", b"/users/list") == 0
    assert table.match(b"", b"/users/last") == 1
    assert table.match(b"", b"/users/lis") == 2
    assert table.match(b"", b"/users/l") == NOWHERE


@pytest.mark.parametrize("path", [b"", b"*", b"/\x00", b"/\xff\xfe", b"/" + b"x" * 100_000])
def test_any_bytes_may_stand_in_a_path(path: bytes) -> None:
    assert Table([prefix(b"/"), exact(path)]).match(b"", path) == (0 if path.startswith(b"/") else 1)


def test_a_path_is_not_read_beyond_its_end() -> None:
    """Behind the bytes of a Python object stands a zero."""
    assert Table([exact(b"/a\x00"), prefix(b"/a\x00")]).match(b"", b"/a") == NOWHERE
    assert Table([prefix(b"/", b"a\x00")]).match(b"a", b"/") == NOWHERE


def test_a_node_may_have_a_child_for_every_byte() -> None:
    table = Table([exact(b"/" + bytes([byte])) for byte in range(256)])
    assert [table.match(b"", b"/" + bytes([byte])) for byte in range(256)] == list(range(256))


def test_an_exact_host_goes_before_a_wildcard_and_that_before_any() -> None:
    table = Table([prefix(b"/"), prefix(b"/", b"*.example.com"), prefix(b"/", b"api.example.com")])
    assert table.match(b"api.example.com", b"/") == 2
    assert table.match(b"www.example.com", b"/") == 1
    assert table.match(b"example.org", b"/") == 0
    assert table.match(b"", b"/") == 0


def test_the_longest_wildcard_wins_whatever_its_place() -> None:
    table = Table([prefix(b"/", b"*.com"), prefix(b"/", b"*.b.com"), prefix(b"/", b"*.a.b.com")])
    assert table.match(b"x.a.b.com", b"/") == 2
    assert table.match(b"a.b.com", b"/") == 1
    assert table.match(b"b.com", b"/") == 0
    assert table.match(b"com", b"/") == NOWHERE


def test_a_wildcard_takes_any_number_of_labels_but_at_least_one() -> None:
    table = Table([prefix(b"/", b"*.example.com")])
    assert table.match(b"a.example.com", b"/") == table.match(b"a.b.example.com", b"/") == 0
    for host in (b"example.com", b".example.com", b"notexample.com", b"example.com.evil"):
        assert table.match(host, b"/") == NOWHERE


def test_a_host_without_a_matching_path_hands_on_to_the_less_specific() -> None:
    table = Table([prefix(b"/a", b"api.example.com"), prefix(b"/b", b"*.example.com"), prefix(b"/c")])
    assert [table.match(b"api.example.com", path) for path in (b"/a", b"/b", b"/c", b"/d")] == [0, 1, 2, NOWHERE]


def test_a_route_may_name_several_hosts() -> None:
    table = Table([prefix(b"/", b"a.example", b"*.b.example", b"[::1]")])
    assert [table.match(host, b"/") for host in (b"a.example", b"x.b.example", b"[::1]", b"c.example")] == [0, 0, 0, -1]


@pytest.mark.parametrize(
    "host",
    [b"Example.COM", b"example.com:8080", b"example.com:", b"example.com.", b"EXAMPLE.com.:443"],
)
def test_case_port_and_the_roots_dot_do_not_matter(host: bytes) -> None:
    assert Table([prefix(b"/", b"example.com")]).match(host, b"/") == 0


@pytest.mark.parametrize("host", [b"example.com:80x", b"example.com..", b"example.co", b"xample.com", b":80", b"."])
def test_other_hosts_are_other_hosts(host: bytes) -> None:
    assert Table([prefix(b"/", b"example.com")]).match(host, b"/") == NOWHERE


@pytest.mark.parametrize("host", [b"[2001:db8::1]", b"[2001:db8::1]:8080", b"[2001:DB8::1]:"])
def test_an_ipv6_address_keeps_its_brackets(host: bytes) -> None:
    assert Table([prefix(b"/", b"[2001:db8::1]")]).match(host, b"/") == 0


def test_letters_beyond_ascii_are_compared_byte_by_byte() -> None:
    table = Table([prefix(b"/", "bücher.example".encode())])
    assert table.match("bücher.example".encode(), b"/") == 0
    assert table.match("bÜcher.example".encode(), b"/") == NOWHERE


def test_a_host_longer_than_any_name_matches_only_routes_for_any() -> None:
    longest = b"a." * 127 + b"x"
    assert len(longest) == 255
    table = Table([prefix(b"/", b"*.x"), prefix(b"/any")])
    assert table.match(longest, b"/any") == 0
    assert table.match(b"aa" + longest, b"/any") == 1
    assert table.match(b"." * 255, b"/any") == table.match(b"." * 70_000, b"/any") == 1


def test_each_of_many_hosts_is_found() -> None:
    names = [b"%d.example" % number for number in range(5000)] + [bytes([byte]) for byte in b"abcdefghijklmnop"]
    table = Table([prefix(b"/", name) for name in names] + [prefix(b"/", b"*." + name) for name in names])
    assert [table.match(name, b"/") for name in names] == list(range(len(names)))
    assert [table.match(b"x." + name, b"/") for name in names] == list(range(len(names), 2 * len(names)))
    assert table.match(b"5000.example", b"/") == NOWHERE


def test_prefixes_nested_deeper_than_pythons_stack_are_fine() -> None:
    table = Table([prefix(b"/" + b"a" * length) for length in range(5000, 0, -1)])
    assert table.match(b"", b"/" + b"a" * 4000) == 1000


@pytest.mark.parametrize("routes", [1, 100, 10_000])
def test_the_nodes_visited_depend_on_the_path_not_on_the_number_of_routes(routes: int) -> None:
    chance = random.Random(20)
    paths = ["/" + "/".join(chance.choices(("api", "v1", "v2", "users", "x"), k=4)) + f"/{n}" for n in range(routes)]
    table = Table([prefix(path.encode()) for path in paths] + [prefix(b"/other", b"*.example.com")])
    for path in (path.encode() for path in chance.sample(paths, min(routes, 200))):
        assert 2 <= table.depth(b"", path) <= len(path) + 1
    assert table.depth(b"", b"/api" + b"?" * 1000) <= 5 + 1
    assert table.depth(b"*.example.com", b"/other/deep") == 2
    assert table.depth(b"www.example.com", b"/other") == 0


def test_ten_thousand_routes_are_all_found() -> None:
    entries = [prefix(b"/%d/" % number) if number % 2 else exact(b"/%d" % number) for number in range(10_000)]
    table = Table(entries)
    assert [table.match(b"any.example", entry.paths[0].pieces[0] or b"") for entry in entries] == list(range(10_000))


def template(*pieces: bytes | None) -> Entry:
    return Entry((), (Path(pieces, is_prefix=False),))


def test_any_segment_takes_one_that_is_not_empty() -> None:
    table = Table([template(b"/users/", None, b"/posts"), template(b"/users/", None)])
    assert table.match(b"", b"/users/7/posts") == 0
    assert table.match(b"", b"/users/7") == 1
    for path in (b"/users/", b"/users//posts", b"/users/7/", b"/users/7/8/posts", b"/users/7/postsx"):
        assert table.match(b"", path) == NOWHERE


def test_a_template_and_a_path_follow_the_order() -> None:
    assert Table([template(b"/u/", None), exact(b"/u/me")]).match(b"", b"/u/me") == 0
    assert Table([exact(b"/u/me"), template(b"/u/", None)]).match(b"", b"/u/me") == 0
    assert Table([exact(b"/u/me"), template(b"/u/", None)]).match(b"", b"/u/mex") == 1
    assert Table([exact(b"/u/me/x"), template(b"/u/", None, b"/y")]).match(b"", b"/u/me/y") == 1


def test_a_hundred_thousand_templates_are_told_apart_by_what_stands_behind_the_segment() -> None:
    table = Table([template(b"/", None, b"/%d" % number) for number in range(100_000)])
    assert [table.match(b"", b"/x/%d" % number) for number in (0, 17, 99_999)] == [0, 17, 99_999]


def test_a_host_that_begins_so_comes_after_all_that_end_so_and_before_any() -> None:
    table = Table([prefix(b"/"), prefix(b"/", b"api.*"), prefix(b"/", b"api.v1.*"), prefix(b"/", b"*.test")])
    hosts = (b"api.test", b"api.example", b"api.v1.example", b"api", b"xapi.a")
    assert [table.match(host, b"/") for host in hosts] == [3, 1, 2, 0, 0]


def test_routes_that_ask_for_more_are_followed_by_the_next_that_covers_the_path() -> None:
    def asking(entry: Entry) -> Entry:
        return Entry(entry.hosts, entry.paths, is_conditional=True)

    table = Table([
        asking(prefix(b"/a")), prefix(b"/b"), asking(exact(b"/a/x")), asking(prefix(b"/", b"h.test")), prefix(b"/a"),
        prefix(b"/"),
    ])  # fmt: skip
    assert table.matches(b"", b"/a/x") == [0, 2, 4, 5]
    assert table.matches(b"h.test", b"/a/x") == [3, 0, 2, 4, 5]
    assert table.matches(b"h.test", b"/c") == [3, 5]


def test_the_representation_tells_the_size() -> None:
    table = Table([prefix(b"/a", b"x", b"*.y"), prefix(b"/")])
    assert repr(table) == "<Table nodes=6 hosts=1 suffixes=1 prefixes=0>"
    assert table.node_count == 6
