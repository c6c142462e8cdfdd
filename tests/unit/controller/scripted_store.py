"""A Redis that says what the test lets it say, on a real socket: enough of the protocol for what is asked of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

Reply = bytes | None
"""As on the wire; None: silence."""

OK = b"+OK\r\n"


class ScriptedStore:
    """`replies` are by the first word of a command; `commands` are those that came, without the greeting's."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {"SCRIPT": bulk(b"cafe"), "EVALSHA": integers(5, 6, 1)}
        self.commands: list[list[str]] = []
        self.port = 0
        self.connections = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def named(self, word: str) -> list[list[str]]:
        return [command for command in self.commands if command[0] == word]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while command := await _command(reader):
                self.commands.append(command)
                reply = self.replies.get(command[0], OK)
                if reply is not None:
                    writer.write(reply)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.connections -= 1
            writer.close()


def bulk(data: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(data), data)


def integers(*numbers: int) -> bytes:
    return b"*%d\r\n" % len(numbers) + b"".join(b":%d\r\n" % number for number in numbers)


@asynccontextmanager
async def scripted_store() -> AsyncIterator[ScriptedStore]:
    store = ScriptedStore()
    server = await asyncio.start_server(store.serve, "127.0.0.1", 0)
    store.port = server.sockets[0].getsockname()[1]
    try:
        yield store
    finally:
        server.close()
        async with asyncio.timeout(10):
            while store.connections:
                await asyncio.sleep(0.001)


async def _command(reader: asyncio.StreamReader) -> list[str]:
    """One array of bulk strings; empty at the end."""
    head = await reader.readline()
    if not head:
        return []
    words = []
    for _ in range(int(head[1:])):
        length = int((await reader.readline())[1:])
        words.append((await reader.readexactly(length + 2))[:-2].decode())
    return words
