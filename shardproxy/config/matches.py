"""What a user can write about the requests that a route takes."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from shardproxy.config.words import (
    Host,
    Network,
    Path,
    PathPrefix,
    Pattern,
    Share,
    Template,
    Text,
    Token,
    Words,
    says,
)

PATH_KINDS = ("prefix", "path", "path_prefix", "template", "regex")
_LITERAL = re.compile(r"[A-Za-z0-9/_~%=:@!,;&'-]*")


class ValueMatch(Words, frozen=True, kw_only=True):
    """One value of a request, by its name: that it is there at all, or one of the others; the name alone is enough."""

    lone: ClassVar[str | None] = "name"

    name: Annotated[Token, says("Of the field, parameter or cookie; fields without regard to case.")]
    exact: Annotated[Text | None, says("It is this.", otherwise="anything")] = None
    prefix: Annotated[Text | None, says("It begins with this.", otherwise="anything")] = None
    suffix: Annotated[Text | None, says("It ends with this.", otherwise="anything")] = None
    contains: Annotated[Text | None, says("It has this in it.", otherwise="anything")] = None
    regex: Annotated[Pattern | None, says("All of it matches this pattern.", otherwise="anything")] = None
    invert: Annotated[bool, says("Take the requests of which all this is not so.")] = False


class ClientShare(Words, frozen=True, kw_only=True):
    """A share of all clients, always the same ones; told apart by their address if by nothing else."""

    lone: ClassVar[str | None] = "of"

    of: Annotated[Share, says("How many of them.")]
    header: Annotated[Token | None, says("The field that tells clients apart.", otherwise="their address does")] = None
    cookie: Annotated[Token | None, says("The cookie that tells clients apart.", otherwise="their address does")] = None


class Match(Words, frozen=True, kw_only=True):
    """Which requests a route takes: exactly one of `prefix`, `path`, `path_prefix`, `template` and `regex` must be$
    there, and all that is written must hold."""

    hosts: Annotated[
        tuple[Host, ...],
        says("Hosts, exact, as `*.example.com`, or as `api.*`.", otherwise="any host", least=1),
    ] = ()
    prefix: Annotated[
        Path | None, says("The path begins with this, compared byte by byte.", otherwise="needs another")
    ] = None
    path: Annotated[Path | None, says("The path is exactly this, without the query.", otherwise="needs another")] = None
    path_prefix: Annotated[
        PathPrefix | None,
        says("The path is this, or goes on behind it with a `/`: `/api` takes no `/apix`.", otherwise="needs another"),
    ] = None
    template: Annotated[
        Template | None,
        says("The path is this, with any one segment for each name in braces.", otherwise="needs another"),
    ] = None
    regex: Annotated[
        Pattern | None, says("All of the path, without the query, matches this pattern.", otherwise="needs another")
    ] = None
    methods: Annotated[tuple[Token, ...], says("The request's method is one of these.", otherwise="any", least=1)] = ()
    headers: Annotated[tuple[ValueMatch, ...], says("Fields of the request.", otherwise="any", least=1)] = ()
    query: Annotated[
        tuple[ValueMatch, ...], says("Parameters of the query, as they are written.", otherwise="any", least=1)
    ] = ()
    cookies: Annotated[tuple[ValueMatch, ...], says("Cookies of the request.", otherwise="any", least=1)] = ()
    networks: Annotated[
        tuple[Network, ...],
        says("The client's address is in one of these; behind `trusted_proxies` the one they tell.", otherwise="any"),
    ] = ()
    share: Annotated[ClientShare | None, says("Only a share of all clients: a canary.", otherwise="all")] = None


def kinds_of(match: Match) -> list[str]:
    """Which of the five ways to match a path are written."""
    return [kind for kind in PATH_KINDS if getattr(match, kind) is not None]


def is_conditional(match: Match) -> bool:
    """Whether it asks for more than host and path, or for a path that is not known by its beginning."""
    more = (match.methods, match.headers, match.query, match.cookies, match.networks, match.share, match.regex)
    return any(more)


def beginning(match: Match) -> str:
    """What every path that a template or a pattern takes begins with, as far as it is plain to see."""
    return (match.template or "").partition("{")[0] if match.regex is None else literal_prefix(match.regex)


def literal_prefix(pattern: str) -> str:
    """What every text that matches begins with, as far as it is plain to see."""
    if "|" in pattern:
        return ""
    rest = pattern.removeprefix("^")
    found = _LITERAL.match(rest)
    assert found is not None
    follows = rest[found.end() : found.end() + 1]
    return found[0][:-1] if follows and follows in "?*{" else found[0]
