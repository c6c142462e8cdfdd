"""The routes of a listener, compiled into its table."""

from __future__ import annotations

from collections.abc import Sequence

from shardproxy.config.schema import Route
from shardproxy.routing.table import Entry, Table
from shardproxy.routing.tree import ANY_HOST, group_by_host


def compile_routes(routes: Sequence[Route]) -> Table:
    """The table whose indices are those of `routes`."""
    return Table([_entry(route) for route in routes])


def shadowed(routes: Sequence[Route]) -> list[tuple[int, int]]:
    """Routes that can never win, each with the earlier route that takes its place: `(index, by_index)`.

    A route is shadowed when every host it names (or "any host") has an earlier route whose path covers its own; if
    those are several, `by_index` is the one of its first host.  Cost: linear in the length of all paths.
    """
    entries = [_entry(route) for route in routes]
    groups = group_by_host(entries)
    found = []
    for index, (hosts, path, is_prefix) in enumerate(entries):
        firsts = [groups[host].first_covering(path, is_prefix=is_prefix) for host in hosts or (ANY_HOST,)]
        if all(first < index for first in firsts):
            found.append((index, firsts[0]))
    return found


def _entry(route: Route) -> Entry:
    match = route.match
    hosts = tuple(host.lower().encode() for host in match.hosts)
    if match.prefix is not None:
        return Entry(hosts, match.prefix.encode(), is_prefix=True)
    return Entry(hosts, (match.path or "").encode(), is_prefix=False)
