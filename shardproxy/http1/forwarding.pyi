from collections.abc import Iterable

from shardproxy.http1.head import Head

class TrustedProxies:
    """The proxies in front of us.

    `networks` are their addresses in CIDR notation; `hops`, in their place, is how many there are one behind the other,
    the one that connects to us included.  Raises `ValueError` for a text that is no network.
    """

    def __init__(self, networks: Iterable[str] = (), hops: int = 0) -> None: ...
    def trusts(self, peer: bytes) -> bool:
        """Whether what `peer` says of the client is believed."""
    def client_of(self, head: Head, peer: bytes) -> bytes:
        """The address of the client behind `peer`: the first hop that is none of ours, from the right."""
