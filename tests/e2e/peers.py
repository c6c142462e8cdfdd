"""The two ends of a proxied conversation: an origin that records what reaches it, and a client that reads strictly."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.proxykit import PATIENCE_S, scripted_origin

Fields = tuple[tuple[str, str], ...]
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def values(fields: Fields, name: str) -> list[str]:
    return [value for key, value in fields if key.lower() == name.lower()]


def parse_head(head: bytes) -> tuple[list[str], Fields]:
    """The words of the first line (three at most), and the fields in order."""
    lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    pairs = (line.split(":", 1) for line in lines[1:])
    return lines[0].split(" ", 2), tuple((name, value.strip()) for name, value in pairs)


# The origin ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """A request as the origin got it; `connection` counts the origin's connections from 1."""

    method: str
    target: str
    version: str
    fields: Fields
    body: bytes
    connection: int

    def values(self, name: str) -> list[str]:
        return values(self.fields, name)


Script = Callable[[Seen, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def says(*pieces: bytes, then: str = "keep") -> Script:
    """Answer with these bytes; `then` keep, close, or reset the connection."""

    async def script(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if then == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        if then != "keep":
            writer.close()

    return script


def says_when(event: threading.Event, raw: bytes) -> Script:
    """Answer once the event is set."""

    async def script(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not event.is_set():
            await asyncio.sleep(0.005)
        writer.write(raw)

    return script


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Origin:
    """Records all requests; plays the script of their path, else answers `ok`.

    `plays` begin when the request is complete, `early` ones when its head is.  `closed` are the connections that the
    proxy has ended.
    """

    seen: list[Seen] = field(default_factory=list)
    plays: dict[str, Script] = field(default_factory=dict)
    early: dict[str, Script] = field(default_factory=dict)
    connections: int = 0
    closed: set[int] = field(default_factory=set)
    address: str = ""

    def of(self, target: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.target == target]

    def only(self, target: str) -> Seen:
        (seen,) = self.of(target)
        return seen

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while not writer.is_closing():
                await self.serve_one(number, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed.add(number)

    async def serve_one(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (method, target, version), fields = parse_head(await reader.readuntil(b"\r\n\r\n"))
        if target in self.early:
            await self.early[target](Seen(method, target, version, fields, b"", number), reader, writer)
        if writer.is_closing():
            return
        seen = Seen(method, target, version, fields, await read_body(reader, fields), number)
        self.seen.append(seen)
        await self.plays.get(target, says(OK))(seen, reader, writer)


async def read_body(reader: asyncio.StreamReader, fields: Fields) -> bytes:
    if not values(fields, "transfer-encoding"):
        return await reader.readexactly(int((values(fields, "content-length") or ["0"])[0]))
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    return body


@contextmanager
def recording_origin(unix: Path | None = None) -> Iterator[Origin]:
    origin = Origin()
    with scripted_origin(origin.handle, unix) as address:
        origin.address = address
        yield origin


# The client ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """`framing` is none, length, chunked or close; `is_whole` is false when the body was cut, as a client can tell."""

    status: int
    fields: Fields
    body: bytes
    framing: str
    is_whole: bool

    def values(self, name: str) -> list[str]:
        return values(self.fields, name)


class Client:
    """One connection to the proxy."""

    def __init__(self, port: int, *, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE_S)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def vanish(self) -> None:
        """Close with a reset, as a process that dies does when bytes for it are under way."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.close()

    def send(self, line: str, *fields: str, body: bytes = b"") -> None:
        head = "".join(f"{one}\r\n" for one in (line, "Host: app.test", *fields))
        self.socket.sendall(head.encode("latin-1") + b"\r\n" + body)

    def ask(self, line: str, *fields: str, body: bytes = b"") -> Answer:
        self.send(line, *fields, body=body)
        return self.read(line.split()[0])

    def get(self, path: str, *fields: str) -> Answer:
        return self.ask(f"GET {path} HTTP/1.1", *fields)

    def read(self, method: str = "GET") -> Answer:
        """The next answer, interim ones too."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.file.readline()
            assert line, f"the connection ended inside a head: {head!r}"
            head += line
        (_, status, _), fields = parse_head(head)
        body, framing, is_whole = self.read_body(method, int(status), fields)
        return Answer(int(status), fields, body, framing, is_whole)

    def read_body(self, method: str, status: int, fields: Fields) -> tuple[bytes, str, bool]:
        if method == "HEAD" or status < 200 or status in (204, 304):
            return b"", "none", True
        if values(fields, "transfer-encoding") == ["chunked"]:
            return self.read_chunks()
        if lengths := values(fields, "content-length"):
            body = self.read_bytes(int(lengths[0]))
            return body, "length", len(body) == int(lengths[0])
        return self.read_to_end()

    def read_bytes(self, size: int) -> bytes:
        try:
            return self.file.read(size)
        except ConnectionResetError:
            return b""

    def read_chunks(self) -> tuple[bytes, str, bool]:
        body = b""
        try:
            while size := int(self.file.readline() or b"-1", 16):
                if size < 0:
                    return body, "chunked", False
                body += self.file.read(size)
                if self.file.readline() != b"\r\n":
                    return body, "chunked", False
        except ConnectionResetError:
            return body, "chunked", False
        return body, "chunked", self.file.readline() == b"\r\n"

    def read_to_end(self) -> tuple[bytes, str, bool]:
        body = b""
        try:
            while piece := self.file.read1(65536):
                body += piece
        except ConnectionResetError:
            return body, "close", False
        return body, "close", True

    def is_closed(self) -> bool:
        """Waits for the end of the connection; false when a byte comes instead."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True
