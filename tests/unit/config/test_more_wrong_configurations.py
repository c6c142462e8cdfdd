"""The edges of checks: what is just right, what is just wrong, and how a sentence names many things."""

from __future__ import annotations

import pytest

from shardproxy.config.check import overlap
from shardproxy.config.check_limits import MAX_KEYED_BURST, MAX_KEYED_RATE
from shardproxy.config.load import parse
from shardproxy.config.suggest import one_of, quote, suggestion
from shardproxy.config.units import Address, parse_address
from tests.unit.config.test_wrong_configurations import END, GOOD, Wrong, errors_of

AT = "4: listeners[0].routes[0]"
RETRY = "cluster: app, retry: {on: [retriable-status], statuses: [409, 429, 409]}"
SHADOWED = """\
      - {match: {hosts: [a], prefix: /}, cluster: app}
      - {match: {hosts: [b], prefix: /}, cluster: app}
      - {match: {hosts: [c], prefix: /}, cluster: app}
"""
FOURTH = "      - {match: {hosts: [d], prefix: /}, cluster: app}\n"
SAME = "      - {match: {path: /x}, cluster: app}\n"
ROUTE = "      - {match: {prefix: /}, cluster: app}\n"
HEADERS = "cluster: app, request_headers: {set: [{name: X-A, value: '%s'}]}"
VARIABLES = "{client_ip}, {request_id}, {host}, {path}, {method}, {scheme}, {cluster}, {status}"
LIMIT = "  - {name: each, rate: 5/s, key: client_ip, overrides: [{key: '%s', rate: 1/s}]}\n"

WRONG = [
    Wrong("a status twice", "cluster: app", RETRY, f"{AT}.retry.statuses[2]: the status '409' is in this list twice"),
    Wrong("back-off that shrinks", "cluster: app",
          "cluster: app, retry: {on: [reset], backoff: {base: 20ms, max: 19ms}}",
          f"{AT}.retry.backoff.max: must not be less than base"),
    Wrong("three winners", ROUTE, SHADOWED + "      - {match: {hosts: [a, b, c], path: /x}, cluster: app}\n" + ROUTE,
          "7: listeners[0].routes[3].match: can never win: all that it matches goes to "
          "routes[0] and routes[1] and routes[2] before it"),
    Wrong("four winners", ROUTE,
          SHADOWED + FOURTH + "      - {match: {hosts: [a, b, c, d], path: /x}, cluster: app}\n" + ROUTE,
          "8: listeners[0].routes[4].match: can never win: all that it matches goes to "
          "routes[0], routes[1], routes[2] and 1 more before it"),
    Wrong("a path twice", ROUTE, SAME + SAME + ROUTE,
          "5: listeners[0].routes[1].match: can never win: all that it matches goes to routes[0] before it"),
    Wrong("a path below a prefix that ends in X", ROUTE, "      - {match: {path_prefix: /aX/}, cluster: app}\n"
          "      - {match: {path: /aX}, cluster: app}\n" + ROUTE,
          "5: listeners[0].routes[1].match: can never win: all that it matches goes to routes[0] before it"),
    Wrong("an unknown name among five", "cluster: app", "cluster: zzz",
          "4: listeners[0].routes[0].cluster: there is no cluster 'zzz'; there is 'app'"),
    Wrong("an unknown bandwidth limit", "cluster: app", "cluster: app, bandwidth_limits: [a]",
          f"{AT}.bandwidth_limits[0]: there is no bandwidth limit 'a'"),
    Wrong("the admin interface on a listener", END, END + "admin: {bind: 127.0.0.1:8080}\n",
          "127.0.0.1:8080 is taken already by"),
    Wrong("an opening brace alone", "cluster: app", HEADERS % "{",
          f"{AT}.request_headers.set[0].value: '{{' alone; write {{{{ for a brace"),
    Wrong("a closing brace alone", "cluster: app", HEADERS % "a}b",
          f"{AT}.request_headers.set[0].value: '}}' alone; write }}}} for a brace"),
    Wrong("an unknown variable", "cluster: app", HEADERS % "{ip}",
          f"{AT}.request_headers.set[0].value: there is no {{ip}}; there are {VARIABLES}"),
    Wrong("a status of a request", "cluster: app", HEADERS % "{status}",
          f"{AT}.request_headers.set[0].value: a request has no {{status}}"),
    Wrong("a field of ours", "cluster: app", "cluster: app, response_headers: {add: [{name: Via, value: a}]}",
          f"{AT}.response_headers.add[0].name: Via is written by the proxy itself"),
    Wrong("a field of ours removed", "cluster: app", "cluster: app, response_headers: {remove: [x, Date]}",
          f"{AT}.response_headers.remove[1]: Date is written by the proxy itself"),
    Wrong("an override of no address", END, END + LIMIT % "nobody",
          "10: rate_limits[1].overrides[0].key: 'nobody' is not an IP address"),
    Wrong("a mapping for a number", END, END + "max_generations: {a: 1}\n",
          "10: max_generations: found keys and values; this needs a whole number"),
    Wrong("nothing for a number", END, END + "max_generations: ''\n",
          "10: max_generations: '' is not a whole number"),
    Wrong("a list for a word", END, END + "log: {format: [plain]}\n",
          "10: log.format: found a list; this needs json or plain"),
    Wrong("a list for a flag", "cluster: app", "cluster: app, sticky: [{client: []}]",
          f"{AT}.sticky[0].client: found a list; this needs true or false"),
    Wrong("a list for a number or a word", END, END + "workers: [1]\n",
          "10: workers: found a list; this needs a whole number or auto"),
]  # fmt: skip

RIGHT = [
    ("cluster: app", "cluster: app, retry: {on: [reset], backoff: {base: 20ms, max: 20ms}}"),
    ("cluster: app", "cluster: app, response_headers: {set: [{name: X-A, value: '{{a}} {status} {host}'}]}"),
    (END, END + LIMIT % "2001:db8::7"),
    (END, END + LIMIT % "192.0.2.1"),
    (END, END + f"  - {{name: each, rate: {MAX_KEYED_RATE}/s, burst: {MAX_KEYED_BURST}, key: client_ip}}\n"),
    (END, END + f"bandwidth_limits: [{{name: a, down: {MAX_KEYED_RATE}KiB/s, burst: {MAX_KEYED_BURST}KiB}}]\n"),
    (END, END + "bandwidth_limits: [{name: a, down: 20481B/s, burst: 1KiB}]\n"),
]


@pytest.mark.parametrize("wrong", WRONG, ids=[wrong.case for wrong in WRONG])
def test_what_is_just_wrong_gives_its_line_and_a_sentence(wrong: Wrong) -> None:
    assert wrong.old in GOOD
    assert wrong.errors.splitlines()[0] in errors_of(GOOD.replace(wrong.old, wrong.new, 1))


@pytest.mark.parametrize(("old", "new"), RIGHT)
def test_what_is_just_right_is_taken(old: str, new: str) -> None:
    assert parse(GOOD.replace(old, new, 1), "x.yaml", {})


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("127.0.0.1:80", "0.0.0.0:80", True),
        ("0.0.0.0:80", "127.0.0.1:80", True),
        ("0.0.0.0:80", "127.0.0.1:81", False),
        ("0.0.0.0:80", "[::1]:80", False),
        ("[::]:80", "[::1]:80", True),
        ("[::]:80", "127.0.0.1:80", False),
        ("unix:/a", "unix:/a", True),
        ("unix:/a", "unix:/b", False),
        ("unix:/a", "127.0.0.1:80", False),
        ("0.0.0.0:80", "unix:/a", False),
    ],
)
def test_two_addresses_overlap_if_only_one_of_them_can_be_bound(one: str, other: str, both: bool) -> None:
    assert overlap(parse_address(one), parse_address(other)) is both


def test_the_address_of_every_family_does_not_overlap_a_socket_of_the_same_port_number() -> None:
    assert not overlap(Address("0.0.0.0", 0), Address(path="/a"))
    assert not overlap(Address(path="/a"), Address("0.0.0.0", 0))


def test_a_unix_sockets_path_has_at_most_107_bytes() -> None:
    longest = "unix:/" + "a" * 106
    assert parse_address(longest).path == longest.removeprefix("unix:")
    for text in (longest + "a", "unix:/" + "ä" * 53 + "a"):
        with pytest.raises(ValueError) as caught:
            parse_address(text)
        assert str(caught.value) == f"{text!r} is longer than the 107 bytes that a Unix socket's path may have"


def test_a_long_text_is_cut_where_it_is_quoted() -> None:
    assert quote("a" * 80) == repr("a" * 80)
    assert quote("a" * 81) == repr("a" * 80) + "..."


def test_words_are_listed_with_an_or_before_the_last() -> None:
    assert [one_of(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a or b", "a, b or c"]


def test_what_was_probably_meant_is_suggested_where_there_is_not_too_much_to_look_through() -> None:
    assert suggestion("clutser", ["cluster", "match"]) == "; did you mean 'cluster'?"
    assert suggestion("xyz", ["cluster", "match"]) == ""
    many = [f"cluster{number}" for number in range(500)]
    assert suggestion("cluster7", many) == "; did you mean 'cluster7'?"
    assert suggestion("cluster7", [*many, "one more"]) == ""
    assert suggestion("a" * 80, ["a" * 80]) == f"; did you mean '{'a' * 80}'?"
    assert suggestion("a" * 81, ["a" * 81]) == ""


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", "1: this is not YAML: did not find expected node content while parsing a flow node"),
        ("a: [${B]", '; inside { } and [ ] write "${NAME}" in quotes'),
        ("a:\n\tb: 1", "2: this is not YAML: the line is indented with a tab; use spaces"),
        ("a: 'b", "1: this is not YAML: found unexpected end of stream while scanning a quoted scalar"),
        ("a: b\tc: d", "1: this is not YAML: mapping values are not allowed in this context"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_line_and_the_reason(text: str, error: str) -> None:
    assert error in errors_of(text)
