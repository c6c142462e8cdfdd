import socket

from shardproxy.proxy.process import Process
from shardproxy.proxy.runtime import ListenerRuntime

class StreamServer:
    """Accepts on a listening socket, which stays the caller's; clients that come are `listener`'s, as it is then."""

    listener: ListenerRuntime

    def __init__(self, process: Process, sock: socket.socket, listener: ListenerRuntime) -> None: ...
    def pause(self) -> None:
        """Let clients that come wait in the queue."""

    def resume(self) -> None: ...
    def close(self) -> None:
        """Accept no more."""
