"""`on_full: wait`: clients wait in the kernel's queue while a listener has as many connections as allowed."""

from __future__ import annotations

import asyncio
import errno
import socket

from shardproxy.observe import shortages
from shardproxy.proxy.downstream import Downstream
from shardproxy.proxy.process import Process
from shardproxy.proxy.runtime import ListenerRuntime
from shardproxy.proxy.streams import adopt
from shardproxy.proxy.watching import Reader

RETRY_S = 0.01  # how often to look for a free place; other workers free places, too
SHORTAGE_S = 0.1  # without accepting, when there are no descriptors or memory left
SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class WaitingServer:
    """Takes a place first and accepts only then, so that the cap holds over all workers and nobody is turned away.

    `sock` stays the caller's.
    """

    def __init__(self, process: Process, sock: socket.socket, listener: ListenerRuntime) -> None:
        self._process = process
        self._sock = sock
        self.listener = listener
        self._retry: asyncio.TimerHandle | None = None
        self._reader = Reader(process.watcher, sock.fileno(), self._accept)

    def __repr__(self) -> str:
        return f"<WaitingServer {self.listener.name} {'accepting' if self._retry is None else 'resting'}>"

    def _accept(self) -> None:
        while self._take_place():
            try:
                connection, _ = self._sock.accept()
            except OSError as error:
                self._give_place_back()
                self._not_accepted(error)
                return
            except MemoryError:
                self._give_place_back()
                self._wait(SHORTAGE_S)
                return
            self._start(connection)
        self._wait(RETRY_S)

    def _not_accepted(self, error: OSError) -> None:
        """The queue is empty, or the client has gone while it waited, or there is no descriptor or memory for it."""
        if error.errno in SHORTAGES:
            shortages.note("accept", error.errno)
            self._wait(SHORTAGE_S)

    def _start(self, connection: socket.socket) -> None:
        """Without memory for it the connection is closed, and its place given back."""
        try:
            connection.setblocking(False)
            client = Downstream.admitted(self._process, self.listener)
            adopt(self._process.watcher, connection.detach(), client)
        except BaseException:
            connection.close()
            self._give_place_back()
            raise

    def _take_place(self) -> bool:
        cap = self.listener.max_connections
        return cap is None or self._process.gauges.reserve(self.listener.connections, cap)

    def _give_place_back(self) -> None:
        if self.listener.max_connections is not None:
            self._process.gauges.add(self.listener.connections, -1)

    def _wait(self, seconds: float) -> None:
        """The timer comes first: if there is no memory for it, the socket stays watched and is tried again at once."""
        self._retry = self._process.loop.call_later(seconds, self.resume)
        self._reader.pause()

    def pause(self) -> None:
        """Let clients that come wait in the queue."""
        self._reader.pause()
        self._cancel()

    def resume(self) -> None:
        """Later, if the kernel has no room to watch the socket."""
        self._cancel()
        try:
            self._reader.resume()
        except OSError:
            self._wait(SHORTAGE_S)

    def close(self) -> None:
        """Accept no more."""
        self._cancel()
        self._reader.close()

    def _cancel(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
