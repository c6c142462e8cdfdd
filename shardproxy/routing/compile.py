"""The routes of a listener, compiled into its table."""

from __future__ import annotations

from collections.abc import Sequence

from shardproxy.config.schema import Route
from shardproxy.routing.table import Entry, Table


def compile_routes(routes: Sequence[Route]) -> Table:
    """The table whose indices are those of `routes`."""
    return Table([_entry(route) for route in routes])


def _entry(route: Route) -> Entry:
    match = route.match
    hosts = tuple(host.lower().encode() for host in match.hosts)
    if match.prefix is not None:
        return Entry(hosts, match.prefix.encode(), is_prefix=True)
    return Entry(hosts, (match.path or "").encode(), is_prefix=False)
