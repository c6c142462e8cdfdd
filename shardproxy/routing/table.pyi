from collections.abc import Sequence
from typing import NamedTuple

class Path(NamedTuple):
    """A path or a prefix in pieces: bytes, and None for any one segment that is not empty."""

    pieces: tuple[bytes | None, ...]
    is_prefix: bool

class Entry(NamedTuple):
    """One route as the table sees it: hosts (`name`, `*.suffix` or `prefix.*`, lower case; none = any), its paths, and
    whether it asks for more than host and path, so that the routes behind it may get its requests."""

    hosts: tuple[bytes, ...]
    paths: tuple[Path, ...]
    is_conditional: bool = False

class Table:
    """Finds the routes of a host and a path.

    The most specific host group wins that has a matching route: an exact name, then the longest `*.suffix`, then the
    longest `prefix.*`, then routes without hosts; within a group the first route in order (Envoy's rule for routes;
    unlike Envoy's virtual hosts, a group without a match hands on to the next less specific one).  A prefix is a prefix
    of bytes: `/v1` matches `/v1x`.

    Hosts are compared without case, port and a trailing dot; an IPv6 address keeps its brackets.  `*.example.com`
    takes `a.example.com` and `a.b.example.com`, not `example.com`; `api.*` takes `api.test`, `api.a.test`, not `api`.

    Cost: O(length of host + length of path) and one probe a label, whatever the number of routes; the path counts once
    for each host group that is tried.
    """

    node_count: int
    def __init__(self, entries: Sequence[Entry]) -> None: ...
    def match(self, host: bytes, path: bytes) -> int:
        """The index of the first route, or -1. `host` may have a port; `path` is without the query."""

    def matches(self, host: bytes, path: bytes) -> list[int]:
        """The indices of all routes that are asked, one after the other, while none of them takes the request. Routes
        behind an unconditional one of the same path or prefix are never asked."""

    def depth(self, pattern: bytes, path: bytes) -> int:
        """How many nodes a path visits in the tree of a host (`name`, `*.suffix`, `prefix.*`, or empty for any); for
        tests. 0 if no route names that host.
        """
