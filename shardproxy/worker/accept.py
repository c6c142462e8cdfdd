"""Servers on the sockets that the supervisor has bound; stopping without losing who waits in the queue."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Mapping
from typing import Protocol

from shardproxy.proxy.downstream import Downstream
from shardproxy.proxy.process import Process
from shardproxy.proxy.runtime import ListenerRuntime
from shardproxy.worker.waiting import WaitingServer

BACKLOG = 4096  # the kernel's net.core.somaxconn bounds it further
MAX_QUEUE_TURNS = 10_000  # of the loop, while the accept queue is emptied


class Server(Protocol):
    """What accepts on one socket."""

    def close(self) -> None: ...


class Acceptor:
    """Accepts on all listeners of this worker."""

    def __init__(self, process: Process, sockets: Mapping[str, socket.socket]) -> None:
        self._process = process
        self._sockets = sockets
        self._servers: list[Server] = []

    async def start(self, listeners: Mapping[str, ListenerRuntime]) -> None:
        for name, sock in self._sockets.items():
            sock.setblocking(False)
            self._servers.append(await self._serve(sock, listeners[name]))

    async def _serve(self, sock: socket.socket, listener: ListenerRuntime) -> Server:
        if listener.waits_when_full:
            return WaitingServer(self._process, sock, listener)
        loop, process = self._process.loop, self._process

        def connection() -> Downstream:
            return Downstream(process, listener)

        if sock.family == socket.AF_UNIX:
            return await loop.create_unix_server(connection, sock=sock, backlog=BACKLOG)
        return await loop.create_server(connection, sock=sock, backlog=BACKLOG)

    async def stop(self) -> None:
        """Accept whoever waits in the queues already, then close the listening sockets."""
        for _ in range(MAX_QUEUE_TURNS):
            if not self._is_queue_waiting():
                break
            await asyncio.sleep(0)
        for server in self._servers:
            server.close()
        self._servers.clear()

    def _is_queue_waiting(self) -> bool:
        poll = select.poll()
        for sock in self._sockets.values():
            if sock.fileno() >= 0:
                poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
