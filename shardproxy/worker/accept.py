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
    """One listening socket.  Connections that come in are served by `listener`, whichever that is at the time."""

    def __init__(self, process: Process, sock: socket.socket, listener: ListenerRuntime) -> None:
        sock.setblocking(False)
        self._process = process
        self._sock = sock
        self.listener = listener
        self._server: StreamServer | WaitingServer | None = None

    def __repr__(self) -> str:
        return f"<Door {self.listener.name} {'open' if self._server else 'closed'}>"

    async def open(self) -> None:
        """Accept.  The server gets a copy of the socket, because it closes what it was given."""
        if self.listener.waits_when_full:
            self._server = WaitingServer(self._process, self._sock.dup(), self.listener)
        else:
            self._sock.listen(BACKLOG)
            self._server = StreamServer(self._process, self._sock.dup(), self.listener)

    async def change(self, listener: ListenerRuntime) -> None:
        """Serve new connections by `listener` from now on."""
        needs_another = listener.waits_when_full or self.listener.waits_when_full
        self.listener = listener
        if needs_another:
            self._stop()
            await self.open()
        elif isinstance(self._server, StreamServer):
            self._server.listener = listener

    def pause(self) -> None:
        """Let who comes wait in the queue."""
        self._stop()

    async def resume(self) -> None:
        if self._server is None:
            await self.open()

    async def empty(self) -> None:
        """Accept whoever waits in the queue already."""
        await self.resume()
        queue = select.poll()
        queue.register(self._sock, select.POLLIN)
        for _ in range(MAX_QUEUE_TURNS):
            if not queue.poll(0):
                return
            await asyncio.sleep(0)

    def close(self) -> None:
        """Accept no more."""
        self._stop()
        self._sock.close()

    def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


class Acceptor:
    """All doors of this worker, by the listener's name."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._doors: dict[str, Door] = {}

    async def start(self, listeners: Mapping[str, ListenerRuntime], sockets: Mapping[str, socket.socket]) -> None:
        for name, sock in sockets.items():
            self._doors[name] = Door(self._process, sock, listeners[name])
            await self._doors[name].open()

    async def change(self, listeners: Mapping[str, ListenerRuntime], sockets: Mapping[str, socket.socket]) -> None:
        """Serve `listeners` from now on; `sockets` are those of listeners that are new here, or have moved."""
        gone = {name for name in self._doors if name not in listeners or name in sockets}
        leaving = [self._doors.pop(name) for name in gone]
        for name, door in self._doors.items():
            await door.change(listeners[name])
        await self.start(listeners, sockets)
        await _leave(leaving)

    def pause(self) -> None:
        for door in self._doors.values():
            door.pause()

    async def resume(self) -> None:
        for door in list(self._doors.values()):
            await door.resume()

    async def stop(self) -> None:
        """Accept whoever waits in the queues already, then close the listening sockets."""
        await _leave(list(self._doors.values()))
        self._doors.clear()

    def hand_over(self) -> None:
        """Close the listening sockets; another process has them too and accepts whoever waits."""
        for door in self._doors.values():
            door.close()
        self._doors.clear()


async def _leave(doors: list[Door]) -> None:
    for door in doors:
        await door.empty()
        door.close()
