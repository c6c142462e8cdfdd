from shardproxy.proxy.process import Process
from shardproxy.proxy.runtime import ListenerRuntime

class Downstream:
    """A client's connection, made for each one by the listener's server."""

    def __init__(self, process: Process, listener: ListenerRuntime) -> None: ...
    @classmethod
    def admitted(cls, process: Process, listener: ListenerRuntime) -> Downstream:
        """For a connection that has its place in the listener's gauge already."""
    @property
    def is_idle(self) -> bool:
        """No request is under way and no byte of one has come."""
    @property
    def listener_name(self) -> str: ...
    def move_to(self, listener: ListenerRuntime) -> None:
        """Another configuration's listener serves the next request; one under way keeps its own."""
    def close_idle(self, quiet_ns: int) -> None:
        """Close if it has been idle for that long and nothing waits to be read."""
    def cut(self) -> bool:
        """Close at once; true if that broke a request off."""
