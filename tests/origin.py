"""A quick origin in a process of its own: `python -m tests.origin --delay-ms 20 PORT`.

It answers every request with 200 and its port, `/delay/MS` after that long, and takes bodies with a Content-Length.
SIGUSR1 lets it answer with 500 from then on, SIGUSR2 with 200 again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import signal

import uvloop

_DELAY = re.compile(rb"^\S+ /delay/(\d+)")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Connection(asyncio.Protocol):
    """Reads one request after the other; answers each after the delay."""

    is_broken = False

    def __init__(self, answer: bytes, delay_s: float) -> None:
        self.answer = answer
        self.delay_s = delay_s
        self.buffer = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            length = _LENGTH.search(head)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self.buffer) < size:
                return
            self.buffer = self.buffer[size:]
            delay = _DELAY.match(head)
            asyncio.get_running_loop().call_later(int(delay[1]) / 1000 if delay else self.delay_s, self.reply)

    def reply(self) -> None:
        if self.transport is not None:
            self.transport.write(self.answer.replace(b" 200 ", b" 500 ", 1) if self.is_broken else self.answer)


async def serve(port: int, delay_s: float) -> None:
    body = f"{port}\n".encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    loop = asyncio.get_running_loop()
    for number, is_broken in ((signal.SIGUSR1, True), (signal.SIGUSR2, False)):
        loop.add_signal_handler(number, setattr, Connection, "is_broken", is_broken)
    server = await loop.create_server(lambda: Connection(answer, delay_s), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay-ms", type=float, default=0)
    parser.add_argument("port", type=int)
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(arguments.port, arguments.delay_ms / 1000))
