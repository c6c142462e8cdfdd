from collections.abc import Callable, Sequence
from typing import Any

from shardproxy.proxy.edits import Edits
from shardproxy.proxy.hashing import HashPolicy
from shardproxy.proxy.mirror import Mirror
from shardproxy.proxy.runtime import ClusterRuntime

class Split:
    """Several clusters that share requests by weight, kept together by `sticky`."""

    def __init__(
        self,
        clusters: Sequence[ClusterRuntime],
        weights: Sequence[int],
        sticky: HashPolicy | None = None,
        seed: int = 1,
    ) -> None: ...
    def draw(self, times: int) -> dict[str, int]:
        """How often each cluster is chosen, by chance; for tests."""

class LocalAnswer:
    """A response of our own. `location` makes a redirect's address from scheme, host, path and query."""

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        content_type: bytes = b"",
        location: Callable[[bytes, bytes, bytes, bytes], bytes] | None = None,
    ) -> None: ...

class Rewrite:
    """`prefix` in place of the first `cut` bytes of the path, or what a pattern finds in it; another host."""

    def __init__(
        self,
        *,
        prefix: bytes | None = None,
        cut: int = 0,
        pattern: Any = None,
        substitution: bytes = b"",
        host: bytes | None = None,
    ) -> None: ...
    def of(self, path: bytes) -> bytes:
        """The path that comes in its place; it begins with `/`."""

class RouteAction:
    """All that a route does beside sending requests to one cluster as they are."""

    def __init__(
        self,
        *,
        split: Split | None = None,
        local: LocalAnswer | None = None,
        rewrite: Rewrite | None = None,
        request_edits: Edits | None = None,
        response_edits: Edits | None = None,
        mirror: Mirror | None = None,
    ) -> None: ...
