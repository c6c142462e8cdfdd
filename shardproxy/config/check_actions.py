"""What is wrong with what routes do."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shardproxy.config.actions import Edits, FieldValue
from shardproxy.config.findings import Finding, known, repeated, routes
from shardproxy.config.places import Path
from shardproxy.config.schema import Config, Route

VARIABLES = ("client_ip", "request_id", "host", "path", "method", "scheme", "cluster", "status")
ANSWERS = ("cluster", "clusters", "redirect", "response")
# What frames a message, is written by the proxy itself, or has a key of its own.
REDIRECTS = (301, 302, 303, 307, 308)
OURS = frozenset(
    [
        "connection",
        "content-length",
        "date",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
    ]
)
PIECES = re.compile(r"\{\{|\}\}|\{([a-z_]*)\}|[{}]")
_WHOLE = ("prefix", "path", "path_prefix")


def routes_do_one_thing(config: Config) -> Iterator[Finding]:
    for path, route in routes(config):
        yield from _route(path, route)


def splits_lead_somewhere(config: Config) -> Iterator[Finding]:
    clusters = [cluster.name for cluster in config.clusters]
    for at, route in routes(config):
        path = (*at, "clusters")
        for place, one in enumerate(route.clusters):
            yield from known((*path, place, "cluster"), one.cluster, "cluster", clusters)
        if route.mirror is not None:
            yield from known((*at, "mirror", "cluster"), route.mirror.cluster, "cluster", clusters)
            if route.redirect is not None or route.response is not None:
                yield (*at, "mirror"), "needs cluster or clusters"
        yield from repeated(path, [one.cluster for one in route.clusters], "cluster")
        if route.clusters and not any(one.weight for one in route.clusters):
            yield path, "at least one of them needs a weight above 0"


def field_edits_are_allowed(config: Config) -> Iterator[Finding]:
    for path, route in routes(config):
        if route.request_headers is not None:
            yield from _edits((*path, "request_headers"), route.request_headers, in_response=False)
        if route.response_headers is not None:
            yield from _edits((*path, "response_headers"), route.response_headers, in_response=True)


def _route(path: Path, route: Route) -> Iterator[Finding]:
    said = [key for key in ANSWERS if getattr(route, key)]
    if not said:
        yield path, "needs cluster, clusters, redirect or response"
    if len(said) > 1:
        yield path, f"has both {said[0]} and {said[1]}; leave one of them out"
    if route.sticky and not route.clusters:
        yield (*path, "sticky"), "is for routes with clusters"
    for place, one in enumerate(route.sticky):
        if sum([one.header is not None, one.cookie is not None, one.client, one.query is not None]) != 1:
            yield (*path, "sticky", place), "needs exactly one of header, cookie, client and query"
    if route.rewrite is not None and route.rewrite.prefix is not None and route.rewrite.regex is not None:
        yield (*path, "rewrite"), "has both prefix and regex; leave one of them out"
    for key in ("rewrite", "redirect"):
        action = getattr(route, key)
        if action is not None and action.prefix is not None and not any(getattr(route.match, kind) for kind in _WHOLE):
            yield (*path, key, "prefix"), "needs a match by prefix, path or path_prefix"
    if route.redirect is not None and route.redirect.status not in REDIRECTS:
        yield (*path, "redirect", "status"), f"must be 301, 302, 303, 307 or 308, not {route.redirect.status}"
    if route.redirect is not None and route.redirect.path is not None and route.redirect.prefix is not None:
        yield (*path, "redirect"), "has both path and prefix; leave one of them out"


def _edits(path: Path, edits: Edits, *, in_response: bool) -> Iterator[Finding]:
    named: list[tuple[Path, str]] = [(("remove", place), name) for place, name in enumerate(edits.remove)]
    for key in ("set", "add"):
        for place, one in enumerate(getattr(edits, key)):
            named.append(((key, place, "name"), one.name))
            yield from _variables((*path, key, place, "value"), one, in_response=in_response)
    for where, name in named:
        if name.lower() in OURS:
            yield (*path, *where), f"{name} is written by the proxy itself"


def _variables(path: Path, field: FieldValue, *, in_response: bool) -> Iterator[Finding]:
    for found in PIECES.finditer(field.value):
        if found[0] in ("{", "}"):
            yield path, f"{found[0]!r} alone; write {2 * found[0]} for a brace"
        elif found[1] is not None and found[1] not in VARIABLES:
            yield path, f"there is no {found[0]}; there are {', '.join(map('{{{}}}'.format, VARIABLES))}"
        elif found[1] == "status" and not in_response:
            yield path, "a request has no {status}"
