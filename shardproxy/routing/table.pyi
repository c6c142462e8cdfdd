from collections.abc import Sequence
from typing import NamedTuple

class Entry(NamedTuple):
    """One route as the table sees it: hosts (`name` or `*.suffix`, lower case; none = any), and a path or a prefix."""

    hosts: tuple[bytes, ...]
    path: bytes
    is_prefix: bool

class Table:
    """Finds the route of a host and a path.

    The most specific host group wins that has a matching route: an exact name, then the longest `*.suffix`, then
    routes without hosts; within a group the first route in order (Envoy's rule for routes; unlike Envoy's virtual
    hosts, a group without a match hands on to the next less specific one).  A prefix is a prefix of bytes: `/v1`
    matches `/v1x`.

    Hosts are compared without case, port and a trailing dot; an IPv6 address keeps its brackets.  `*.example.com`
    takes `a.example.com` and `a.b.example.com`, not `example.com`.

    Cost: O(length of host + length of path) and one probe a label, whatever the number of routes; the path counts once
    for each host group that is tried.
    """

    node_count: int
    def __init__(self, entries: Sequence[Entry]) -> None: ...
    def match(self, host: bytes, path: bytes) -> int:
        """The index of the route, or -1. `host` may have a port; `path` is without the query."""

    def depth(self, pattern: bytes, path: bytes) -> int:
        """How many nodes a path visits in the tree of a host (`name`, `*.suffix`, or empty for any); for tests.

        0 if no route names that host.
        """
