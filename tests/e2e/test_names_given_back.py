"""A proxy whose names change for ever never runs out of room, and nobody who still uses an old one is disturbed."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.test_dynamic_endpoints import admin
from tests.proxykit import PATIENCE_S, Proxy, eventually, exchange, proxy, scripted_origin

GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
KEPT = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

# Of each release all names are new. Four tables of keys a release: the shared memory has room for 64.
RELEASE = """
workers: WORKERS
listeners:
  - name: web-NAME
    bind: 127.0.0.1:PORT
    max_connections_per_client: 50
    routes:
      - match: {prefix: /}
        cluster: app-NAME
        rate_limits: [each-NAME, all-NAME, follows-NAME]
        bandwidth_limits: [bytes-NAME]
        hedge: {percentile: 95}
        mirror: {cluster: copy-NAME, of: 50%}
clusters:
  - name: app-NAME
    endpoints: [ORIGIN]
    max_requests: 100
    queue: {max: 10}
    slow_start: {window: 1s}
    outlier_detection: {}
    adaptive: {max: 200}
  - {name: copy-NAME, endpoints: [ORIGIN], balance: peak_ewma}
rate_limits:
  - {name: each-NAME, rate: 1/h, burst: BURST, key: client_ip, overrides: [{key: 10.0.0.1, rate: 1/h}]}
  - {name: more-NAME, rate: 1/h, burst: BURST, key: {header: x-key}}
  - {name: all-NAME, rate: 1/h, burst: BURST}
  - {name: follows-NAME, rate: 100/s, adaptive: {cluster: app-NAME, min: 10/s, max: 200/s}}
bandwidth_limits:
  - {name: bytes-NAME, down: 10MiB/s, up: 10MiB/s, key: client_ip}
"""


class Origin:
    """Answers at once, or when it is told to, to those who ask for /later."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.waiting = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET /later"):
                self.waiting += 1
                await self.release.wait()
            writer.write(OK)
            await writer.drain()

    def answer(self) -> None:
        self.release._loop.call_soon_threadsafe(self.release.set)  # type: ignore[attr-defined]


class Releases:
    """One proxy, and its file with another name each time."""

    def __init__(self, running: Proxy, file: Path, text: str) -> None:
        self.running, self.file, self.text, self.number = running, file, text, 0

    def next(self, **changes: Any) -> None:
        self.number += 1
        self.file.write_text(written(self.text, name=str(self.number), **changes))
        status, answer = admin(self.running, "POST", "/reload")
        assert (status, answer["done"]) == (200, True), (self.number, answer)


    def restart(self) -> None:
        """Until the former controller has gone, which takes no more commands, and with it the former workers."""
        controller = self.running.stats()["controller"]["pid"]
        self.running.process.send_signal(signal.SIGUSR2)
        eventually(lambda: f"controller (pid {controller}) ended" in self.running.log, "the next generation")
        eventually(self.running.is_ready, "the next controller")


def written(text: str, name: str, burst: int = 5) -> str:
    return text.replace("NAME", name).replace("BURST", str(burst))


@contextmanager
def releases(tmp_path: Path, workers: int = 1, text: str = RELEASE) -> Iterator[tuple[Releases, Origin]]:
    origin = Origin()
    with scripted_origin(origin.serve) as address:
        text = text.replace("ORIGIN", address).replace("WORKERS", str(workers))
        with proxy(tmp_path, written(text, name="0")) as running:
            (file,) = tmp_path.glob("proxy-*.yaml")
            head = f"admin: {{bind: 127.0.0.1:{running.admin_port}}}\n"
            yield Releases(running, file, head + text.replace("PORT", str(running.port))), origin


def admitted(running: Proxy, times: int) -> int:
    return sum(exchange(running.port, GET).startswith(b"HTTP/1.1 200 ") for _ in range(times))


def test_many_more_releases_than_there_is_room_for_are_served_and_each_begins_afresh(tmp_path: Path) -> None:
    with releases(tmp_path, workers=2) as (served, _):
        for number in range(1, 61):
            served.next()
            if number % 10 == 0:
                assert admitted(served.running, 7) == 5
                stats = served.running.stats()
                assert stats["rate_limits"][f"each-{number}"]["admitted"] == 5
                assert stats["listeners"][f"web-{number}"]["accepted"] == 7
                assert stats["clusters"][f"app-{number}"]["endpoints"].popitem()[1]["requests"] == 5
        assert served.running.stats()["responses"]["2xx"] == 30


def test_who_is_still_served_by_an_old_release_keeps_it_and_only_that(tmp_path: Path) -> None:
    """One connection is idle since the first release, and one request waits for its answer since the tenth."""
    with releases(tmp_path) as (served, origin), _connected(served.running) as idle:
        idle.sendall(KEPT)
        assert _response(idle).startswith(b"HTTP/1.1 200 ")
        for _ in range(10):
            served.next()
        with _connected(served.running) as waiting:
            waiting.sendall(KEPT.replace(b"/ ", b"/later "))
            eventually(lambda: origin.waiting, "the request at the origin")
            for _ in range(60):
                served.next()
            assert admitted(served.running, 7) == 5
            before = served.running.stats()
            origin.answer()
            assert _response(waiting).startswith(b"HTTP/1.1 200 ")
            eventually(
                lambda: served.running.stats()["responses"]["2xx"] == before["responses"]["2xx"] + 1, "the response"
            )
        after = served.running.stats()
        for part in ("rate_limits", "clusters", "bandwidth_limits"):
            assert _without_times(after[part]) == _without_times(before[part]), part
        for _ in range(10):
            served.next()


def test_releases_and_hot_restarts_in_turn_find_room(tmp_path: Path) -> None:
    with releases(tmp_path) as (served, _):
        for _ in range(2):
            for _ in range(18):
                served.next()
            served.restart()
        assert admitted(served.running, 7) == 5
        assert "fresh shared memory" not in served.running.log


LIMITED = """
workers: 2
listeners:
  - bind: 127.0.0.1:PORT
    routes: [{match: {prefix: /}, cluster: app, rate_limits: [each]}]
clusters:
  - {name: app, endpoints: [ORIGIN]}
rate_limits:
  - {name: each, rate: RATE, burst: BURST, KEY}
"""


def test_a_limit_that_changes_goes_on_from_what_it_holds_in_all_workers_and_over_a_hot_restart(tmp_path: Path) -> None:
    for key in ("", "key: client_ip, keys: 1024"):
        folder = tmp_path / (key[:3] or "all")
        folder.mkdir()
        with releases(folder, text=LIMITED.replace("KEY", key).replace("RATE", "1000NAME/h")) as (served, _):
            running, text = served.running, served.text

            def change(rate: str, **changes: Any) -> None:
                served.text = text.replace("1000NAME/h", rate).replace("keys: 1024", changes.pop("keys", "keys: 1024"))  # noqa: B023
                served.next(**changes)

            change("1000/h")
            assert admitted(running, 7) == 5, key
            for rate in ("10/h", "11/h", "1/h", "12/h"):
                change(rate)
                assert admitted(running, 3) == 0, (key, rate)
            change("12/h", burst=8)
            assert admitted(running, 5) == 3, key
            change("12/h", burst=2, keys="keys: 64")
            assert admitted(running, 3) == 0, key
            change("12/h", burst=4, keys="keys: 4096")
            assert admitted(running, 3) == 2, key
            served.file.write_text(written(text.replace("1000NAME/h", "5/h"), name="x", burst=4))
            served.restart()
            assert admitted(running, 3) == 0, key
            change("3600/h", burst=4)
            eventually(lambda: admitted(running, 1), "a token at a token a second")  # noqa: B023


@contextmanager
def _connected(running: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", running.port), PATIENCE_S) as connection:
        yield connection


def _response(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"ok"):
        piece = connection.recv(4096)
        assert piece, data
        data += piece
    return data


def _without_times(part: Any) -> Any:
    """Without what changes by itself."""
    moving = {"tokens", "since_s", "adaptive_limit", "rate", "burst"}
    if isinstance(part, dict):
        return {key: _without_times(value) for key, value in part.items() if key not in moving}
    return part


def test_listeners_that_let_clients_wait_are_let_go_as_well(tmp_path: Path) -> None:
    text = RELEASE.replace("max_connections_per_client: 50", "max_connections: 50\n    on_full: wait")
    with releases(tmp_path, text=text) as (served, _):
        for _ in range(40):
            served.next()
        assert admitted(served.running, 7) == 5
