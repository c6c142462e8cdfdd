"""Doors: the listening sockets that the supervisor has bound, each with the runtime of its listener.

A door closes without losing who waits before it: what is in the queue is accepted first, unless another process has the
same socket and accepts on.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Mapping

from shardproxy.proxy.listening import StreamServer
from shardproxy.proxy.process import Process
from shardproxy.proxy.runtime import ListenerRuntime
from shardproxy.worker.waiting import WaitingServer

BACKLOG = 4096  # the kernel's net.core.somaxconn bounds it further
MAX_QUEUE_TURNS = 10_000  # of the loop, while the accept queue is emptied


class Door:
    """One listening socket.  Connections that come in are served by `listener`, whichever that is at the time.

    Pausing and going on need no descriptor, since that may be what is missing.
    """

    def __init__(self, process: Process, sock: socket.socket, listener: ListenerRuntime) -> None:
        sock.setblocking(False)
        self._process = process
        self._sock = sock
        self.listener = listener
        self._server = self._serve()

    def __repr__(self) -> str:
        return f"<Door {self.listener.name} {self._server!r}>"

    def change(self, listener: ListenerRuntime) -> None:
        """Serve new connections by `listener` from now on."""
        if listener.waits_when_full == self.listener.waits_when_full:
            self.listener = self._server.listener = listener
            return
        self.listener = listener
        self._server.close()
        self._server = self._serve()

    def pause(self) -> None:
        """Let clients that come wait in the queue."""
        self._server.pause()

    def resume(self) -> None:
        self._server.resume()

    async def empty(self) -> None:
        """Accept the clients that wait in the queue already."""
        self.resume()
        queue = select.poll()
        queue.register(self._sock, select.POLLIN)
        for _ in range(MAX_QUEUE_TURNS):
            if not queue.poll(0):
                return
            await asyncio.sleep(0)

    def close(self) -> None:
        """Accept no more."""
        self._server.close()
        self._sock.close()

    def _serve(self) -> StreamServer | WaitingServer:
        if self.listener.waits_when_full:
            return WaitingServer(self._process, self._sock, self.listener)
        self._sock.listen(BACKLOG)
        return StreamServer(self._process, self._sock, self.listener)


class Acceptor:
    """All doors of this worker, by the listener's name."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._doors: dict[str, Door] = {}

    def start(self, listeners: Mapping[str, ListenerRuntime], sockets: Mapping[str, socket.socket]) -> None:
        for name, sock in sockets.items():
            self._doors[name] = Door(self._process, sock, listeners[name])

    async def change(self, listeners: Mapping[str, ListenerRuntime], sockets: Mapping[str, socket.socket]) -> None:
        """Serve `listeners` from now on; `sockets` are those of listeners that are new here, or have moved."""
        gone = {name for name in self._doors if name not in listeners or name in sockets}
        leaving = [self._doors.pop(name) for name in gone]
        for name, door in self._doors.items():
            door.change(listeners[name])
        self.start(listeners, sockets)
        await _leave(leaving)

    def pause(self) -> None:
        for door in self._doors.values():
            door.pause()

    def resume(self) -> None:
        for door in self._doors.values():
            door.resume()

    async def stop(self) -> None:
        """Accept the clients that wait in the queues already, then close the listening sockets."""
        await _leave(list(self._doors.values()))
        self._doors.clear()

    def hand_over(self) -> None:
        """Close the listening sockets; another process has them too and accepts the clients that wait."""
        for door in self._doors.values():
            door.close()
        self._doors.clear()


async def _leave(doors: list[Door]) -> None:
    for door in doors:
        await door.empty()
        door.close()
