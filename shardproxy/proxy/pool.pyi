from collections.abc import Callable

from shardproxy.config.units import Address
from shardproxy.proxy.process import Process
from shardproxy.proxy.upstream import Upstream
from shardproxy.proxy.watching import Watch

class EndpointPool:
    """Connections of this worker to one endpoint: the idle ones, last in first out, and the making of new ones."""

    idle: int
    @property
    def siblings(self) -> list[EndpointPool]:
        """All pools of the cluster: at its `max_connections` an idle connection of one makes way for one of another."""
    def __init__(
        self,
        process: Process,
        address: Address,
        *,
        connect_timeout_ns: int,
        idle_ns: int,
        max_idle: int,
        max_requests: int | None,
        connections: int,
        cluster_connections: int,
        max_connections: int | None,
        endpoint_max_connections: int | None = None,
        proxy_version: int = 0,
        connector: Callable[[Watch, Address, Upstream], object] = ...,
    ) -> None: ...
    def share_cap(self, siblings: list[EndpointPool]) -> None: ...
    def retire(self) -> None:
        """Keep no connection any more; those in use end with their requests."""
    def close_idle(self) -> None:
        """Close all idle connections."""
