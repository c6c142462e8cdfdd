"""The servers behind the demo: HTTP/1.1 with keep-alive, a small JSON answer to whatever is asked, after a while.

    head ──> body, thrown away ──> delay ──> answer ──┐
     ^────────────────── the next request ────────────┘

What comes during the delay waits: the kernel holds it back from the client.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NamedTuple, cast

import msgspec

from shardproxy.demo.body import BadBody, ChunkedBody, LengthBody

HOST = "127.0.0.1"
MOST_HEAD_BYTES = 64 * 1024
_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True)
class Origin:
    """One server: its name, as it stands in its answers, and how long it takes for one."""

    name: str
    delay_s: float


class Request(NamedTuple):
    """The head of a request; field names in lower case."""

    method: str
    path: str
    fields: dict[str, str]


async def start(origin: Origin) -> asyncio.Server:
    """Serve on a free port of the loopback; close the server to end it."""
    return await asyncio.get_running_loop().create_server(lambda: OriginConnection(origin), HOST, 0)


def address(server: asyncio.Server) -> str:
    """`127.0.0.1:40123`."""
    host, port = server.sockets[0].getsockname()[:2]
    return f"{host}:{port}"


class OriginConnection(asyncio.Protocol):
    """One connection of the proxy to an origin."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._buffer = bytearray()
        self._request: Request | None = None
        self._body: LengthBody | ChunkedBody = LengthBody(0)
        self._answering: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but the base class

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._answering is not None:
            self._answering.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            self._go_on()
        except (BadBody, ValueError):
            self._refuse()

    def _go_on(self) -> None:
        """Read as far as there is something to read, or until a request is complete."""
        if self._answering is not None or self._transport is None:
            return
        if self._request is None and not self._read_head():
            return
        if self._body.take(self._buffer):
            self._transport.pause_reading()
            self._answering = asyncio.get_running_loop().call_later(self._origin.delay_s, self._answer)

    def _read_head(self) -> bool:
        end = self._buffer.find(_END_OF_HEAD)
        if end < 0:
            if len(self._buffer) > MOST_HEAD_BYTES:
                raise ValueError("the head is too long")
            return False
        self._request = parse_head(bytes(self._buffer[:end]))
        del self._buffer[: end + len(_END_OF_HEAD)]
        self._body = body_of(self._request)
        if "expect" in self._request.fields:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _answer(self) -> None:
        request, self._request, self._answering = self._request, None, None
        assert request is not None
        self._write(answer(self._origin, request, self._body.received))
        if self._transport is None:
            return
        if request.fields.get("connection", "").lower() == "close":
            self._transport.close()
        else:
            self._transport.resume_reading()
            self.data_received(b"")

    def _refuse(self) -> None:
        self._write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        if self._transport is not None:
            self._transport.close()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def parse_head(head: bytes) -> Request:
    """The head of a request, without its empty line. Raises `ValueError`; the proxy in front is the strict one."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    pairs = (line.split(":", 1) for line in lines)
    return Request(method, path, {name.lower(): value.strip() for name, value in pairs})


def body_of(request: Request) -> LengthBody | ChunkedBody:
    """What follows the head. Raises `ValueError`."""
    if "transfer-encoding" in request.fields:
        return ChunkedBody()
    return LengthBody(int(request.fields.get("content-length", "0")))


def answer(origin: Origin, request: Request, received: int) -> bytes:
    """The whole answer: who gave it, to what, and how many bytes of a body came."""
    content = {"origin": origin.name, "method": request.method, "path": request.path, "body_bytes": received}
    body = msgspec.json.encode(content) + b"\n"
    fields = f"Server: {origin.name}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"HTTP/1.1 200 OK\r\n{fields}\r\n".encode() + (b"" if request.method == "HEAD" else body)
