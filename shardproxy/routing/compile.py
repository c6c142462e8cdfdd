"""The routes of a listener, compiled into its table and what they ask beyond host and path."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import re2

from shardproxy.config.matches import Match, ValueMatch, is_conditional, literal_prefix
from shardproxy.config.routes import Route
from shardproxy.http1.forwarding import TrustedProxies
from shardproxy.routing.conditions import Conditions, ConditionSpec, ShareSpec
from shardproxy.routing.table import Entry, Path, Table
from shardproxy.routing.tree import SEGMENT

if TYPE_CHECKING:
    from shardproxy.routing.conditions import Source

_PARAMETER = re.compile(r"\{[^}]*\}")
_TESTS = ("exact", "prefix", "suffix", "contains", "regex")


def compile_routes(routes: Sequence[Route]) -> Table:
    """The table whose indices are those of `routes`."""
    return Table([entry(route.match) for route in routes])


def entry(match: Match) -> Entry:
    """Where a route stands in the table."""
    hosts = tuple(host.lower().encode() for host in match.hosts)
    return Entry(hosts, paths(match), is_conditional(match))


def paths(match: Match) -> tuple[Path, ...]:
    """Its paths and prefixes, in pieces."""
    if match.prefix is not None:
        return (Path((match.prefix.encode(),), is_prefix=True),)
    if match.path_prefix is not None:
        whole = match.path_prefix.rstrip("/").encode()
        return (Path((whole,), is_prefix=False), Path((whole + b"/",), is_prefix=True))
    if match.template is not None:
        return (Path(pieces(match.template), is_prefix=False),)
    if match.regex is not None:
        return (Path((literal_prefix(match.regex).encode(),), is_prefix=True),)
    return (Path(((match.path or "").encode(),), is_prefix=False),)


def pieces(template: str) -> tuple[bytes | None, ...]:
    """`/users/{id}/posts` as `/users/`, any segment, `/posts`."""
    found: list[bytes | None] = []
    for number, literal in enumerate(_PARAMETER.split(template)):
        if number:
            found.append(SEGMENT)
        if literal:
            found.append(literal.encode())
    return tuple(found)


def conditions(match: Match, cluster: str) -> Conditions | None:
    """What it asks for beyond host and path; None for nothing. `cluster` tells the shares of canaries apart."""
    if not is_conditional(match):
        return None
    sources: tuple[tuple[Source, tuple[ValueMatch, ...]], ...] = (
        ("header", match.headers),
        ("query", match.query),
        ("cookie", match.cookies),
    )
    return Conditions(
        [_condition(source, one) for source, values in sources for one in values],
        methods=[method.encode() for method in match.methods],
        networks=TrustedProxies(match.networks) if match.networks else None,
        share=_share(match, cluster),
        path_pattern=None if match.regex is None else pattern_of(match.regex),
    )


def pattern_of(text: str) -> Any:
    """Compiled, for bytes. Raises `re2.error`."""
    return re2.compile(text.encode())


def _condition(source: Source, one: ValueMatch) -> ConditionSpec:
    for test in _TESTS:
        wanted = getattr(one, test)
        if wanted is not None:
            value = pattern_of(wanted) if test == "regex" else wanted.encode()
            return ConditionSpec(source, one.name.encode(), test, value, one.invert)
    return ConditionSpec(source, one.name.encode(), "present", b"", one.invert)


def _share(match: Match, cluster: str) -> ShareSpec | None:
    """The salt follows from the route itself, so that the same clients are in it after a reload, and anywhere."""
    share = match.share
    if share is None:
        return None
    where = repr((match.hosts, match.prefix, match.path, match.path_prefix, match.regex, match.template, cluster))
    salt = hashlib.blake2b(where.encode(), digest_size=16).digest()
    by: Source | None = "header" if share.header else "cookie" if share.cookie else None
    name = share.header or share.cookie
    return ShareSpec(share.of, salt, by, name.encode() if name else None)
