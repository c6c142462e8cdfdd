"""What a user can write about a route: which requests it takes, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from shardproxy.config.actions import DirectResponse, Edits, Mirror, Redirect, Rewrite, WeightedCluster
from shardproxy.config.matches import Match
from shardproxy.config.words import (
    KIB,
    MILLISECOND,
    SECOND,
    Duration,
    Label,
    Name,
    Path,
    Protocol,
    Size,
    Timeout,
    Token,
    Words,
    says,
)


class Backoff(Words, frozen=True, kw_only=True):
    """The wait before the n-th retry: by chance between 0 and (2^n - 1) x `base`, at most `max`."""

    base: Annotated[Timeout, says("The longest wait before the first retry.")] = 25 * MILLISECOND
    max: Annotated[Timeout | None, says("The longest wait of all.", otherwise="ten times `base`")] = None


class Retry(Words, frozen=True, kw_only=True):
    """Which requests are tried again, on another endpoint where there is one; never once a byte of a response is out.

    As in Envoy the method does not matter: `connect-failure` and `refused` are safe for every request, the other
    conditions may run a request twice, POST too.
    """

    on: Annotated[
        tuple[
            Literal[
                "connect-failure", "refused", "reset", "gateway-error", "5xx", "retriable-status", "retriable-headers"
            ],
            ...,
        ],
        says(
            "After what: no connection (`refused`: before its timeout), no response (`reset`: closed, broken or late; "
            "no connection too), 502 to 504 or any 5xx (both: or no response), one of `statuses`, or a response with "
            "one of `headers`.",
            least=1,
        ),
    ]
    attempts: Annotated[int, Meta(ge=1, le=10), says("Retries after the first try.")] = 1
    statuses: Annotated[
        tuple[Annotated[int, Meta(ge=200, le=599)], ...],
        says("For `retriable-status`.", otherwise="none", least=1),
    ] = ()
    headers: Annotated[
        tuple[Token, ...],
        says("For `retriable-headers`: names of fields of the response, whatever they say.", otherwise="none", least=1),
    ] = ()
    per_try_timeout: Annotated[
        Timeout | None,
        says("For the response's head of one try; the route's `timeout` bounds all of them.", otherwise="`timeout`"),
    ] = None
    backoff: Annotated[Backoff, says("The wait before a retry.")] = Backoff()
    max_body: Annotated[
        Size, says("A request with a longer body is not tried again once the first bytes of it have left.")
    ] = 64 * KIB


class Hedge(Words, frozen=True, kw_only=True):
    """A second try beside the first: the head that comes first wins, the other try is reset.

    Only for requests without a body that may be run twice (GET, HEAD, OPTIONS, TRACE, PUT, DELETE); it counts as a
    retry in the cluster's `retry_budget`.
    """

    lone: ClassVar[str | None] = "after"

    after: Annotated[
        Timeout | None, says("How long to wait for the response's head first.", otherwise="`percentile` tells")
    ] = None
    percentile: Annotated[
        Annotated[int, Meta(ge=50, le=99)],
        says(
            "Without `after`: as long as so many of 100 responses of the cluster took lately, over all workers; "
            "until 100 are known there is no second try."
        ),
    ] = 95


class HashCookie(Words, frozen=True, kw_only=True):
    """A cookie; its name alone may stand for it."""

    lone: ClassVar[str | None] = "name"

    name: Annotated[Token, says("What it is called.")]
    ttl: Annotated[
        Annotated[Duration, Meta(ge=SECOND)] | None,
        says("Give one that lasts so long to clients without it.", otherwise="none is given"),
    ] = None
    path: Annotated[Path, says("For which paths clients send the given one.")] = "/"


class HashKey(Words, frozen=True, kw_only=True):
    """One thing that requests can be kept together by: exactly one of these."""

    header: Annotated[Token | None, says("A field of the request.", otherwise="not this")] = None
    cookie: Annotated[HashCookie | None, says("A cookie.", otherwise="not this")] = None
    client: Annotated[bool, says("The client's address, as `trusted_proxies` tell it.")] = False
    query: Annotated[Token | None, says("A query parameter, as it is written.", otherwise="not this")] = None


class Route(Words, frozen=True, kw_only=True):
    """Where matching requests go, and under which limits."""

    later: ClassVar[frozenset[str]] = frozenset({"filters"})

    match: Annotated[Match, says("Which requests this route takes.")]
    cluster: Annotated[
        Name | None,
        says("The name of the cluster that answers them.", otherwise="needs `clusters`, `redirect` or `response`"),
    ] = None
    clusters: Annotated[
        tuple[WeightedCluster, ...], says("Clusters that share the requests, by weight.", otherwise="one", least=1)
    ] = ()
    sticky: Annotated[
        tuple[HashKey, ...],
        says(
            "What keeps requests at one of the `clusters`: the first of these that a request has.",
            otherwise="each request by chance",
            least=1,
        ),
    ] = ()
    redirect: Annotated[Redirect | None, says("Send clients elsewhere.", otherwise="they are answered here")] = None
    response: Annotated[
        DirectResponse | None, says("Answer without an endpoint.", otherwise="endpoints answer")
    ] = None
    rewrite: Annotated[Rewrite | None, says("Ask endpoints for something else.", otherwise="as it came")] = None
    mirror: Annotated[Mirror | None, says("Send copies to another cluster.", otherwise="none")] = None
    request_headers: Annotated[Edits | None, says("Changes of requests' fields.", otherwise="none")] = None
    response_headers: Annotated[Edits | None, says("Changes of responses' fields.", otherwise="none")] = None
    subset: Annotated[
        tuple[Label, ...],
        says(
            "Only endpoints of the cluster that carry all these `labels`, such as `version=v2`; limits and counts are "
            "those of the whole cluster.",
            otherwise="all endpoints",
            least=1,
        ),
    ] = ()
    subset_fallback: Annotated[
        Literal["none", "any"],
        says("When no endpoint carries them: 503, or any endpoint; one that is only ill still counts as there."),
    ] = "none"
    timeout: Annotated[Timeout, says("From the end of the request until the response's head has come; then 504.")] = (
        15 * SECOND
    )
    rate_limits: Annotated[
        tuple[Name, ...], says("Names of rate limits; each must admit the request, otherwise 429.")
    ] = ()
    bandwidth_limits: Annotated[
        tuple[Name, ...], says("Names of bandwidth limits; bodies and tunnels keep to all of them.")
    ] = ()
    priority: Annotated[
        Literal["high", "normal", "low"], says("Who is served first, and refused last, in the cluster's `queue`.")
    ] = "normal"
    priority_field: Annotated[
        Token | None,
        says(
            "A field of the request that says `high`, `normal` or `low` instead; only for clients that may choose.",
            otherwise="`priority` holds for all",
        ),
    ] = None
    hash: Annotated[
        tuple[HashKey, ...],
        says(
            "What keeps requests at one endpoint where the cluster's `balance` is `ring_hash` or `maglev`: the first "
            "of these that a request has.",
            otherwise="any endpoint",
            least=1,
        ),
    ] = ()
    retry: Annotated[Retry | None, says("When to try again.", otherwise="never")] = None
    hedge: Annotated[
        Hedge | None, says("Ask another endpoint, too, when the first is slow.", otherwise="one at a time")
    ] = None
    upgrade: Annotated[
        tuple[Protocol, ...],
        says(
            "Protocols that a client may switch to, such as `websocket`; others go on as plain requests. "
            "`connect` allows tunnels by the CONNECT method."
        ),
    ] = ()


def clusters_of(route: Route) -> list[str]:
    """Where its requests go: one cluster, several that share them, or none."""
    return [one.cluster for one in route.clusters] or ([] if route.cluster is None else [route.cluster])


def hedged_clusters(routes: Iterable[Route]) -> list[tuple[str, int]]:
    """The clusters whose slow responses must be known, each with the percentile that is slow; each pair once."""
    hedged = [(route, route.hedge) for route in routes if route.hedge is not None and route.hedge.after is None]
    return list(dict.fromkeys((name, hedge.percentile) for route, hedge in hedged for name in clusters_of(route)))
