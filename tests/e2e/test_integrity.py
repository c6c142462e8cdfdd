"""Many conversations at a time, of all sizes and framings: every client gets back exactly what it sent."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from tests.e2e.peers import parse_head, read_body, values
from tests.proxykit import PATIENCE_S, proxy, scripted_origin

CONFIGURATION = """
workers: 2
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - {name: app, endpoints: [ORIGIN], keepalive: {max_requests: 7}}
"""
CLIENTS, REQUESTS = 40, 25
SIZES = (0, 1, 500, 4096, 16_384, 16_385, 70_000, 300_000)


def framed(body: bytes, chance: random.Random) -> bytes:
    """The rest of a message behind its first fields: with a length, or chunked in pieces of any size."""
    if chance.random() < 0.5:
        return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    chunks, at = b"", 0
    while at < len(body):
        piece = body[at : at + chance.choice((1000, 5000, 100_000))]
        chunks += b"%x\r\n%s\r\n" % (len(piece), piece)
        at += len(piece)
    return b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back the body, framed by chance, and the name of who sent it."""
    chance = random.Random(7)
    while True:
        _, fields = parse_head(await reader.readuntil(b"\r\n\r\n"))
        body = await read_body(reader, fields)
        name = values(fields, "x-name")[0].encode()
        writer.write(b"HTTP/1.1 200 OK\r\nX-Name: %s\r\n" % name + framed(body, chance))
        await writer.drain()


async def talk(port: int, number: int) -> None:
    chance = random.Random(number)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for turn in range(REQUESTS):
        body = chance.randbytes(chance.choice(SIZES))
        name = f"{number}-{turn}"
        writer.write(f"POST / HTTP/1.1\r\nHost: a\r\nX-Name: {name}\r\n".encode() + framed(body, chance))
        (_, status, _), fields = parse_head(await reader.readuntil(b"\r\n\r\n"))
        assert (status, values(fields, "x-name")) == ("200", [name])
        assert await read_body(reader, fields) == body
    writer.close()
    await writer.wait_closed()


async def talk_all(port: int) -> None:
    await asyncio.wait_for(asyncio.gather(*(talk(port, number) for number in range(CLIENTS))), PATIENCE_S)


def test_every_client_gets_back_what_it_sent_itself(tmp_path: Path) -> None:
    with (
        scripted_origin(echo) as address,
        proxy(tmp_path, CONFIGURATION.replace("ORIGIN", address)) as running,
    ):
        asyncio.run(talk_all(running.port))
        running.await_idle()
        assert not any(running.stats()["faults"].values())
