import socket

from shardproxy.proxy.process import Process
from shardproxy.proxy.runtime import ListenerRuntime

class StreamServer:
    """Accepts on a listening socket, which it closes in the end; who comes is a client of `listener`, as it is then."""

    listener: ListenerRuntime

    def __init__(self, process: Process, sock: socket.socket, listener: ListenerRuntime) -> None: ...
    def close(self) -> None:
        """Accept no more."""
