import socket
from collections.abc import Callable

from shardproxy.proxy.downstream import Downstream
from shardproxy.proxy.watching import Watch

class StreamServer:
    """Accepts on a listening socket, which it closes in the end; `factory` makes the protocol of each connection."""

    def __init__(self, watcher: Watch, sock: socket.socket, factory: Callable[[], Downstream]) -> None: ...
    def close(self) -> None:
        """Accept no more."""
