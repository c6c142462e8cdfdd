"""Servers and clients that were not written for us; and unix sockets at both ends."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from tests.e2e.peers import OK, recording_origin
from tests.proxykit import PATIENCE_S, Proxy, proxy

CONFIGURATION = """
workers: 1
log: {level: warning}
listeners:
  - bind: BIND
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - {name: app, endpoints: ["ORIGIN"]}
"""
BODY = bytes(range(256)) * 8192  # 2 MiB
DIGEST = hashlib.sha256(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """GET: the body; POST: the digest of what came."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.reply(BODY)

    def do_POST(self) -> None:
        self.reply(hashlib.sha256(self.rfile.read(int(self.headers["Content-Length"]))).hexdigest().encode())

    def reply(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class OldHandler(Handler):
    protocol_version = "HTTP/1.0"

    def reply(self, body: bytes) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


@contextmanager
def python_server(handler: type[Handler]) -> Iterator[str]:
    with QuietServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


async def down(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()  # chunked, for want of a length
    response.enable_chunked_encoding()
    await response.prepare(request)
    for at in range(0, len(BODY), 100_000):
        await response.write(BODY[at : at + 100_000])
    await response.write_eof()
    return response


async def up(request: web.Request) -> web.Response:
    return web.Response(text=hashlib.sha256(await request.read()).hexdigest())


@contextmanager
def aiohttp_server() -> Iterator[str]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    application = web.Application(client_max_size=2 * len(BODY))
    application.add_routes([web.get("/", down), web.post("/", up)])
    runner = web.AppRunner(application)

    async def start() -> str:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"127.0.0.1:{runner.addresses[0][1]}"

    try:
        yield asyncio.run_coroutine_threadsafe(start(), loop).result(PATIENCE_S)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(PATIENCE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


SERVERS = {
    "http.server": lambda: python_server(Handler),
    "http.server 1.0": lambda: python_server(OldHandler),
    "aiohttp": aiohttp_server,
}


@pytest.fixture(scope="module", params=SERVERS)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with SERVERS[request.param]() as origin:
        text = CONFIGURATION.replace("ORIGIN", origin).replace("BIND", "127.0.0.1:PORT")
        with proxy(tmp_path_factory.mktemp("peers"), text) as started:
            yield started


def test_http_client_and_the_server_understand_each_other(running: Proxy) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE_S)
    for _ in range(3):
        connection.request("GET", "/")
        assert connection.getresponse().read() == BODY
        connection.request("POST", "/", body=BODY)
        assert connection.getresponse().read().decode() == DIGEST
    connection.close()


def test_httpx_with_many_requests_at_a_time_and_the_server_understand_each_other(running: Proxy) -> None:
    async def visit(client: httpx.AsyncClient) -> None:
        got = await client.get("/")
        assert (got.status_code, got.content == BODY) == (200, True)
        assert (await client.post("/", content=BODY)).text == DIGEST

    async def visit_all() -> None:
        async with httpx.AsyncClient(base_url=running.url, timeout=PATIENCE_S, trust_env=False) as client:
            await asyncio.gather(*(visit(client) for _ in range(8)))

    asyncio.run(visit_all())


def test_unix_sockets_serve_at_both_ends(tmp_path: Path) -> None:
    door = tmp_path / "door.sock"
    with recording_origin(tmp_path / "origin.sock") as origin:
        text = CONFIGURATION.replace("ORIGIN", origin.address).replace("BIND", f"unix:{door}")
        with proxy(tmp_path, text), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE_S)
            client.connect(str(door))
            for _ in range(2):
                client.sendall(b"GET /unix HTTP/1.1\r\nHost: app.test\r\n\r\n")
                answer = client.recv(65536)
                assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
                assert answer.endswith(OK[-2:])
        assert [seen.connection for seen in origin.of("/unix")] == [1, 1]
