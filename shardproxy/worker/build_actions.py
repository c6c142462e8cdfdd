"""What a route does beside sending requests to its cluster, compiled."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from shardproxy.config import schema
from shardproxy.config.actions import Edits as EditsWords
from shardproxy.config.actions import Redirect
from shardproxy.config.check_actions import PIECES
from shardproxy.proxy.actions import LocalAnswer, Rewrite, RouteAction, Split
from shardproxy.proxy.edits import Edits
from shardproxy.proxy.hashing import HashPolicy
from shardproxy.proxy.mirror import Mirror
from shardproxy.proxy.runtime import ClusterRuntime
from shardproxy.routing.compile import pattern_of
from shardproxy.shm import names
from shardproxy.shm.held import Held
from shardproxy.shm.slots import Slots
from shardproxy.worker.build_balancing import sources
from shardproxy.worker.held import HeldRoute
from shardproxy.worker.snapshot import Worksite

Location = Callable[[bytes, bytes, bytes, bytes], bytes]


def action_of(
    route: schema.Route, clusters: Mapping[str, ClusterRuntime], site: Worksite, slots: Slots, held: Held
) -> RouteAction | None:
    """None if it only sends requests to its cluster."""
    edits = (route.request_headers, route.response_headers)
    if not any((route.clusters, route.redirect, route.response, route.rewrite, route.mirror, *edits)):
        return None
    return RouteAction(
        split=split_of(route, clusters) if route.clusters else None,
        local=local_answer(route),
        rewrite=rewrite_of(route),
        mirror=mirror_of(route, clusters, site, slots, held),
        request_edits=edits_of(route.request_headers),
        response_edits=edits_of(route.response_headers),
    )


def split_of(route: schema.Route, clusters: Mapping[str, ClusterRuntime]) -> Split:
    sticky = HashPolicy([source for one in route.sticky for source in sources(one)]) if route.sticky else None
    return Split(
        [clusters[one.cluster] for one in route.clusters],
        [one.weight for one in route.clusters],
        sticky,
        int.from_bytes(os.urandom(8), "little"),
    )


def mirror_of(
    route: schema.Route, clusters: Mapping[str, ClusterRuntime], site: Worksite, slots: Slots, held: Held
) -> Mirror | None:
    said = route.mirror
    if said is None:
        return None
    target = HeldRoute(clusters[said.cluster], None, route.timeout)
    target.held = held
    return Mirror(
        target,
        site.metrics,
        millionths=said.of,
        max_body=said.max_body,
        sent=slots.counter(names.cluster_mirrored(said.cluster)),
        dropped=slots.counter(names.cluster_mirror_dropped(said.cluster)),
        seed=int.from_bytes(os.urandom(8), "little"),
    )


def local_answer(route: schema.Route) -> LocalAnswer | None:
    if route.redirect is not None:
        return LocalAnswer(route.redirect.status, location=location_of(route.redirect, matched(route)))
    if route.response is None:
        return None
    said = route.response
    return LocalAnswer(said.status, (said.body or "").encode(), said.content_type.encode())


def location_of(redirect: Redirect, cut: int) -> Location:
    """How the address of a redirect follows from that of a request."""
    moves = redirect.scheme is not None or redirect.host is not None

    def location(scheme: bytes, host: bytes, path: bytes, query: bytes) -> bytes:
        name, port = split_host(host)
        name = redirect.host.encode() if redirect.host is not None else name
        port = b"%d" % redirect.port if redirect.port is not None else b"" if moves else port
        path = moved_path(redirect, cut, path)
        query = b"" if redirect.strip_query else query
        if not name:
            return b"/" + path.lstrip(b"/") + query  # `//name` would be another host
        scheme = redirect.scheme.encode() if redirect.scheme is not None else scheme
        return scheme + b"://" + name + (b":" + port if port else b"") + path + query

    return location


def moved_path(redirect: Redirect, cut: int, path: bytes) -> bytes:
    if redirect.path is not None:
        return redirect.path.encode()
    if redirect.prefix is not None:
        return Rewrite(prefix=redirect.prefix.encode(), cut=cut).of(path)
    return path


def split_host(host: bytes) -> tuple[bytes, bytes]:
    """Name and port; the colons of `[::1]` belong to the name."""
    name, colon, port = host.rpartition(b":")
    return (name, port) if colon and not port.strip(b"0123456789") else (host, b"")


def rewrite_of(route: schema.Route) -> Rewrite | None:
    said = route.rewrite
    if said is None:
        return None
    return Rewrite(
        prefix=None if said.prefix is None else said.prefix.encode(),
        cut=matched(route),
        pattern=None if said.regex is None else pattern_of(said.regex.pattern),
        substitution=b"" if said.regex is None else said.regex.substitution.encode(),
        host=None if said.host is None else said.host.encode(),
    )


def matched(route: schema.Route) -> int:
    """How much of a path its match takes up."""
    match = route.match
    if match.path_prefix is not None:
        return len(match.path_prefix.rstrip("/"))
    return len(match.prefix or match.path or "")


def edits_of(said: EditsWords | None) -> Edits | None:
    if said is None:
        return None
    return Edits(
        set=[(one.name.encode(), pieces_of(one.value)) for one in said.set],
        add=[(one.name.encode(), pieces_of(one.value)) for one in said.add],
        remove=[name.encode() for name in said.remove],
    )


def pieces_of(value: str) -> tuple[bytes | str, ...]:
    """`a{host}b` as `a`, the variable `host`, `b`."""
    pieces: list[bytes | str] = []
    at = 0
    for found in PIECES.finditer(value):
        pieces.append(value[at : found.start()].encode())
        pieces.append(found[0][0].encode() if found[1] is None else found[1])
        at = found.end()
    pieces.append(value[at:].encode())
    return tuple(piece for piece in pieces if piece)
