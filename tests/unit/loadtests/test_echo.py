"""Every frame of a WebSocket comes back, through every proxy, and is counted once."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests import echo, proxies
from loadtests.configurations import Site
from loadtests.processes import fetch, free_ports
from loadtests.proxies import USUAL, Proxy
from loadtests.work import Load, WrkFailed

SHORT = Load(seconds=1, connections=4, core=0)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    (port,) = free_ports(1)
    with proxies.start_echo((port,), tmp_path_factory.mktemp("echo") / "origin", 0):
        yield port


@pytest.mark.parametrize(
    ("size", "head"),
    [(1, b"\x82\x81"), (125, b"\x82\xfd"), (126, b"\x82\xfe\0\x7e"), (65535, b"\x82\xfe\xff\xff"),
     (65536, b"\x82\xff\0\0\0\0\0\1\0\0")],
)  # fmt: skip
def test_a_frame_has_the_shortest_length_that_says_it(size: int, head: bytes) -> None:
    assert echo.frame(size) == head + bytes(4) + b"x" * size


def test_the_origin_agrees_as_the_standard_says(origin: int) -> None:
    ask = (
        b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", origin), timeout=5) as client:
        client.sendall(ask)
        answer = client.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=" in answer
        client.sendall(echo.frame(7))
        assert client.recv(4096) == echo.frame(7)


def test_whoever_is_no_websocket_gets_a_page(origin: int) -> None:
    assert fetch(origin, "/") == (200, 1024)


@pytest.mark.parametrize("size", [64, 65536])
@pytest.mark.parametrize("proxy", USUAL, ids=lambda proxy: proxy.name)
def test_frames_come_back_through_every_proxy(proxy: Proxy, size: int, origin: int, tmp_path: Path) -> None:
    if proxy.find() is None:
        pytest.skip(f"{proxy.name} is not installed: {proxy.how_to_get}")
    port, admin_port = free_ports(2)
    site = Site(port, admin_port, (origin,), ("/",), tmp_path / proxy.name, kind="websocket")
    with proxies.start(proxy, site, 0, "/"):
        outcome = echo.play(port, size, SHORT)
    assert outcome.requests > 20
    assert outcome.errors == 0
    assert 0 < outcome.p50_us <= outcome.p99_us


def test_a_server_that_does_not_upgrade_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with pytest.raises(WrkFailed, match="no WebSockets: "):
        echo.play(port, 64, SHORT)
