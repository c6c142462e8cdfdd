"""An origin that can be made ill: `/healthz` says what it is told to say, and everything else is served and counted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.proxykit import scripted_origin


@dataclass
class Patient:
    """`status` is what a check is told, 0 for no answer at all; `heads` are those of the checks that came."""

    address: str = ""
    status: int = 200
    body: bytes = b"ok"
    served: int = 0
    heads: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if b" /healthz" not in head.split(b"\r\n")[0]:
                self.served += 1
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
                continue
            self.heads.append(head)
            if not self.status:
                await asyncio.sleep(3600)
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (self.status, len(self.body), self.body))


@contextmanager
def patient(unix: Path | None = None) -> Iterator[Patient]:
    """One of them, in good health; `unix` names its socket."""
    found = Patient()
    with scripted_origin(found.serve, unix) as address:
        found.address = address
        yield found
