"""`on_full: wait`: clients wait in the kernel's queue while a listener has as many connections as allowed."""

from __future__ import annotations

import asyncio
import socket

from shardproxy.proxy.downstream import Downstream
from shardproxy.proxy.process import Process
from shardproxy.proxy.runtime import ListenerRuntime
from shardproxy.proxy.streams import adopt
from shardproxy.proxy.watching import Reader

RETRY_S = 0.01  # how often to look for a free place; other workers free places, too


class WaitingServer:
    """Takes a place first and accepts only then, so that the cap holds over all workers and nobody is turned away."""

    def __init__(self, process: Process, sock: socket.socket, listener: ListenerRuntime) -> None:
        self._process = process
        self._sock = sock
        self._listener = listener
        self._retry: asyncio.TimerHandle | None = None
        self._reader = Reader(process.watcher, sock.fileno(), self._accept)

    def _accept(self) -> None:
        while self._take_place():
            try:
                connection, _ = self._sock.accept()
            except OSError:  # the queue is empty, or the client has gone while it waited
                self._give_place_back()
                return
            self._start(connection)
        self._wait()

    def _start(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        adopt(self._process.watcher, connection.detach(), Downstream.admitted(self._process, self._listener))

    def _take_place(self) -> bool:
        cap = self._listener.max_connections
        return cap is None or self._process.gauges.reserve(self._listener.connections, cap)

    def _give_place_back(self) -> None:
        if self._listener.max_connections is not None:
            self._process.gauges.add(self._listener.connections, -1)

    def _wait(self) -> None:
        self._reader.pause()
        self._retry = self._process.loop.call_later(RETRY_S, self._resume)

    def _resume(self) -> None:
        self._reader.resume()

    def close(self) -> None:
        """Accept no more."""
        if self._retry is not None:
            self._retry.cancel()
        self._reader.close()
        self._sock.close()
