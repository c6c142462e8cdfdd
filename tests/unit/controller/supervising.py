"""A real controller in a thread, on a real channel and a real socket; the test is its supervisor."""

from __future__ import annotations

import json
import os
import select
import socket
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from shardproxy.config.schema import Config, worker_count
from shardproxy.control.channel import Channel
from shardproxy.control.messages import Message
from shardproxy.control.seat import ADMIN, Seat
from shardproxy.controller.admin.ask import ask
from shardproxy.controller.main import serve
from shardproxy.shm.rows import Kind, Rows
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots

PATIENCE_S = 10.0
ROW = 1


class Running:
    """A controller that serves, and the supervisor's end of its channel."""

    def __init__(self, segment: Segment, slots: Slots, config: Config, listening: socket.socket) -> None:
        self.supervisor, channel = Channel.pair()
        self.capacities = segment.capacities
        segment.workers_wanted = worker_count(config)
        self.rows = Rows(segment)
        self.rows.claim(ROW, os.getpid(), 1, Kind.CONTROLLER)
        self.listening = listening
        self.url = _url(listening)
        self.port = int(self.url.rpartition(":")[2]) if listening.family == socket.AF_INET else 0
        self._threads = ThreadPoolExecutor(1)
        seat = Seat(
            kind="controller", index=0, row=ROW, generation=1, config=config, segment=segment, slots=slots,
            listeners={ADMIN: listening}, channel=channel,
        )  # fmt: skip
        self._channel = channel
        self.exit_code: Future[int] = self._threads.submit(serve, seat)

    def hear(self) -> Message | None:
        """The next thing it says."""
        assert select.select([self.supervisor], [], [], PATIENCE_S)[0], "the controller says nothing"
        return self.supervisor.receive()

    def is_silent(self) -> bool:
        """It has said nothing that was not heard."""
        return not select.select([self.supervisor], [], [], 0)[0]

    def close(self) -> None:
        self.supervisor.close()
        self._threads.shutdown()
        self._channel.close()
        self.listening.close()


def _url(listening: socket.socket) -> str:
    name = listening.getsockname()
    return f"unix:{name}" if listening.family == socket.AF_UNIX else f"http://127.0.0.1:{name[1]}"


def get(running: Running, path: str) -> tuple[int, Any]:
    """Status and content."""
    status, body = ask(running.url, path)
    return status, json.loads(body)


def post(running: Running, headers: bytes) -> tuple[int, Any]:
    """`POST /drain` with these headers, as they are."""
    head = b"POST /drain HTTP/1.1\r\nHost: admin.test:9901\r\nConnection: close\r\n%s\r\n" % headers
    with socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE_S) as connection:
        connection.sendall(head)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    status, body = answer[9:12], answer.partition(b"\r\n\r\n")[2]
    return int(status), json.loads(body)


def is_accepting(running: Running) -> bool:
    """Whether it takes connections."""
    try:
        socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE_S).close()
    except ConnectionError:  # refused, or reset when the socket was closed during the handshake
        return False
    return True
