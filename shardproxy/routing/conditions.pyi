from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from shardproxy.http1.forwarding import TrustedProxies
from shardproxy.http1.head import Head

Source = Literal["header", "query", "cookie"]

class ConditionSpec(NamedTuple):
    """One condition: on which value, how it is tested and against what (a compiled pattern for `regex`, else bytes),
    and whether it has to fail."""

    source: Source
    name: bytes
    test: str
    wanted: Any
    is_inverted: bool

class ShareSpec(NamedTuple):
    """So many millionths of all clients, told apart by a value or (`by` None) by their address; 16 bytes of salt."""

    millionths: int
    salt: bytes
    by: Source | None
    name: bytes | None

class Conditions:
    """All that a route asks of a request beyond host and path; every one of them must hold."""

    needs_client: bool
    def __init__(
        self,
        conditions: Sequence[ConditionSpec] = (),
        *,
        methods: Sequence[bytes] = (),
        networks: TrustedProxies | None = None,
        share: ShareSpec | None = None,
        path_pattern: Any = None,
    ) -> None: ...
    def takes(self, head: Head, path: bytes = b"/", client: bytes = b"") -> bool:
        """Whether all of them hold for a request that has been read, with this path and from this address. A test that
        cannot be made (its text is no UTF-8, or there is no memory) is one that does not hold, inverted or not."""
