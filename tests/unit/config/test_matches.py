"""What can be said of a match without a request: how it looks at the path, and what all its paths begin with."""

from __future__ import annotations

from typing import Any

import pytest

from shardproxy.config.matches import (
    PATH_KINDS,
    ClientShare,
    Match,
    ValueMatch,
    beginning,
    is_conditional,
    kinds_of,
    literal_prefix,
)


@pytest.mark.parametrize("kind", PATH_KINDS)
def test_a_match_knows_which_ways_to_look_at_the_path_are_written(kind: str) -> None:
    written: dict[str, Any] = {kind: "/"}
    assert kinds_of(Match(**written)) == [kind]
    assert kinds_of(Match(prefix="/", regex="/")) == ["prefix", "regex"]
    assert kinds_of(Match()) == []


@pytest.mark.parametrize(
    ("more", "asks"),
    [
        ({}, False),
        ({"hosts": ("a",)}, False),
        ({"path": "/"}, False),
        ({"template": "/{id}"}, False),
        ({"methods": ("GET",)}, True),
        ({"headers": (ValueMatch(name="a"),)}, True),
        ({"query": (ValueMatch(name="a"),)}, True),
        ({"cookies": (ValueMatch(name="a"),)}, True),
        ({"networks": ("10.0.0.0/8",)}, True),
        ({"share": ClientShare(of=1)}, True),
        ({"regex": "/"}, True),
    ],
)
def test_only_more_than_host_and_a_known_path_is_a_condition(more: dict[str, Any], asks: bool) -> None:
    assert is_conditional(Match(**more)) is asks


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        ("/v1/users", "/v1/users"),
        ("^/v1/", "/v1/"),
        ("/v[0-9]+/", "/v"),
        ("/v1.*", "/v1"),
        ("/users?", "/user"),
        ("/users*", "/user"),
        ("/users{2}", "/user"),
        ("/users+", "/users"),
        ("/a|/b", ""),
        (r"/a\.b", "/a"),
        ("(/a)", ""),
        ("", ""),
        (".*", ""),
        ("?", ""),
    ],
)
def test_a_pattern_begins_with_what_is_plain_to_see(pattern: str, prefix: str) -> None:
    assert literal_prefix(pattern) == prefix


def test_a_match_begins_as_its_template_or_its_pattern_does() -> None:
    assert beginning(Match(template="/users/{id}/posts/{post}")) == "/users/"
    assert beginning(Match(template="/users")) == "/users"
    assert beginning(Match(regex="/v[0-9]+")) == "/v"
    assert beginning(Match(prefix="/a")) == ""
