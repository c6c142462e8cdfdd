import asyncio

from shardproxy.proxy.process import Process
from shardproxy.proxy.runtime import ListenerRuntime

class Downstream(asyncio.Protocol):
    """A client's connection; an asyncio protocol, made for each one by the listener's server."""

    def __init__(self, process: Process, listener: ListenerRuntime) -> None: ...
    @classmethod
    def admitted(cls, process: Process, listener: ListenerRuntime) -> Downstream:
        """For a connection that has its place in the listener's gauge already."""
    @property
    def is_idle(self) -> bool:
        """No request is under way and no byte of one has come."""
    def close_idle(self) -> None:
        """Close if idle; a request that is under way says `Connection: close` in its response (the worker drains)."""
    def cut(self) -> bool:
        """Close at once; true if that broke a request off."""
