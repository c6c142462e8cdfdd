"""Upgrade and CONNECT: bytes both ways, and only where a route allows it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from tests.proxykit import PATIENCE_S, Proxy, exchange, proxy, scripted_origin

Talk = Callable[[int], Awaitable[None]]

CONFIGURATION = """
workers: 1
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    timeouts: {tunnel_idle: 1s}
    routes:
      - {match: {prefix: /chat}, cluster: app, upgrade: [websocket]}
      - {match: {hosts: [tunnel.test], prefix: /}, cluster: app, upgrade: [connect]}
      - {match: {prefix: /}, cluster: app}
clusters:
  - {name: app, endpoints: [ORIGIN]}
"""


@contextmanager
def in_front_of(tmp_path: Path, origin: str) -> Iterator[Proxy]:
    with proxy(tmp_path, CONFIGURATION.replace("ORIGIN", origin)) as running:
        yield running


async def echo_server(connection: ServerConnection) -> None:
    async for message in connection:
        if message == "leave":
            await connection.close(4001, "as you wish")
        else:
            await connection.send(message)


def test_websocket_messages_of_a_mebibyte_come_back_whole_with_pings_between(tmp_path: Path) -> None:
    async def talk(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/chat", max_size=None) as client:
            for number in range(5):
                message = bytes([number]) * 2**20
                await client.send(message)
                await asyncio.wait_for(await client.ping(), PATIENCE_S)
                assert await asyncio.wait_for(client.recv(), PATIENCE_S) == message

    asyncio.run(with_echo(tmp_path, talk))


def test_the_close_code_and_reason_of_the_origin_reach_the_client(tmp_path: Path) -> None:
    async def talk(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/chat") as client:
            await client.send("leave")
            with pytest.raises(ConnectionClosedError) as closed:
                await asyncio.wait_for(client.recv(), PATIENCE_S)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "as you wish")

    asyncio.run(with_echo(tmp_path, talk))


def test_a_silent_tunnel_is_closed_after_its_idle_time(tmp_path: Path) -> None:
    async def talk(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/chat", ping_interval=None) as client:
            with pytest.raises(ConnectionClosedError):
                await asyncio.wait_for(client.recv(), PATIENCE_S)

    asyncio.run(with_echo(tmp_path, talk))


def test_a_route_that_allows_no_upgrade_passes_the_request_on_as_a_plain_one(tmp_path: Path) -> None:
    async def talk(port: int) -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws://127.0.0.1:{port}/elsewhere"):
                pass
        assert refused.value.response.status_code == 426  # the origin saw a request without Upgrade

    asyncio.run(with_echo(tmp_path, talk))


async def with_echo(tmp_path: Path, talk: Talk) -> None:
    async with serve(echo_server, "127.0.0.1", 0, max_size=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        manager = in_front_of(tmp_path, f"127.0.0.1:{port}")
        loop = asyncio.get_running_loop()
        running = await loop.run_in_executor(None, manager.__enter__)
        try:
            await talk(running.port)
            await loop.run_in_executor(None, running.await_idle)
        finally:
            await loop.run_in_executor(None, manager.__exit__, None, None, None)


async def shout_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads until the other side has ended, and only then answers: half-close must have arrived."""
    heard = await reader.read()
    writer.write(heard.upper())
    await writer.drain()


def test_connect_opens_a_tunnel_where_a_route_allows_it_and_keeps_half_close(tmp_path: Path) -> None:
    request = b"CONNECT tunnel.test:443 HTTP/1.1\r\nHost: tunnel.test:443\r\n\r\n"
    with scripted_origin(shout_back) as origin, in_front_of(tmp_path, origin) as running:
        with socket.create_connection(("127.0.0.1", running.port), PATIENCE_S) as client:
            client.sendall(request + b"early ")
            head = client.recv(65536)
            assert head.startswith(b"HTTP/1.1 200 ") and head.endswith(b"\r\n\r\n")
            client.sendall(b"late")
            client.shutdown(socket.SHUT_WR)
            assert client.recv(65536) == b"EARLY LATE"
            assert client.recv(1) == b""
        running.await_idle()


def test_connect_elsewhere_is_refused_with_405(tmp_path: Path) -> None:
    with scripted_origin(shout_back) as origin, in_front_of(tmp_path, origin) as running:
        answer = exchange(running.port, b"CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"X-Shardproxy-Reason: connect_refused" in answer
