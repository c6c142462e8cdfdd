"""Another configuration under load: nothing is lost, and what has not changed stays as it is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from tests.e2e.peers import OK, Client, recording_origin, says_when
from tests.load import Background
from tests.proxykit import PATIENCE_S, Proxy, eventually, exchange, free_port, origins, proxy

ONE = """
workers: 2
listeners:
  - bind: 127.0.0.1:PORT
    routes:
      - {match: {prefix: /chat}, cluster: chat, upgrade: [websocket]}
      - {match: {prefix: /}, cluster: app}
clusters:
  - {name: app, endpoints: [ORIGIN]}
  - {name: chat, endpoints: [CHAT]}
"""
OTHER = """
workers: 2
log: {format: json}
listeners:
  - bind: 127.0.0.1:PORT
    on_full: wait
    max_connections: 1000
    routes:
      - {match: {prefix: /chat}, cluster: chat, upgrade: [websocket]}
      - {match: {path: /only-here}, cluster: app, rate_limits: [rarely]}
      - {match: {prefix: /}, cluster: app}
  - bind: 127.0.0.1:SECOND
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - {name: app, balance: round_robin, endpoints: [ORIGIN, SPARE]}
  - {name: chat, endpoints: [CHAT]}
rate_limits:
  - {name: rarely, rate: 1/h, burst: 2}
"""
GET = b"GET %s HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"


class Reloadable:
    """A proxy whose file can be replaced; every text is filled in with the same ports and origins."""

    def __init__(self, running: Proxy, file: Path, words: dict[str, str]) -> None:
        self.running = running
        self._file = file
        self._words = words
        self._reloads = 0

    def fill(self, text: str) -> str:
        for word, value in self._words.items():
            text = text.replace(word, value)
        return text

    def write(self, text: str) -> None:
        self._file.write_text(f"admin: {{bind: 127.0.0.1:{self.running.admin_port}}}\n" + self.fill(text))

    def reload(self, text: str) -> None:
        """Until it is served by all workers."""
        self.write(text)
        self._reloads += 1
        self.running.process.send_signal(signal.SIGHUP)
        served = f"configuration {self._reloads + 1} is served by all 2 workers"
        eventually(lambda: served in self.running.log, served)


@contextmanager
def reloadable(tmp_path: Path, words: dict[str, str]) -> Iterator[Reloadable]:
    text = ONE
    for word, value in words.items():
        text = text.replace(word, value)
    with proxy(tmp_path, text) as running:
        yield Reloadable(running, next(tmp_path.glob("*.yaml")), {**words, "PORT": str(running.port)})


@contextmanager
def echo() -> Iterator[str]:
    def answer(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with serve(answer, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join(PATIENCE_S)


@pytest.fixture(scope="module")
def words() -> Iterator[dict[str, str]]:
    with origins(0, 0) as (one, spare), echo() as chat:
        yield {"ORIGIN": one, "SPARE": spare, "CHAT": chat, "SECOND": str(free_port())}


def reload_often(tmp_path: Path, words: dict[str, str], times: int) -> None:
    with reloadable(tmp_path, words) as site:
        with (
            Background(site.running.port) as load,
            connect(f"ws://127.0.0.1:{site.running.port}/chat", open_timeout=PATIENCE_S) as chat,
        ):
            for number in range(times):
                site.reload(OTHER if number % 2 == 0 else ONE)
                chat.send(f"still there after {number}?")
                assert chat.recv(PATIENCE_S) == f"still there after {number}?"
        assert (load.tally.broken, load.tally.refused, load.tally.reopened) == (0, 0, 0)
        assert load.tally.with_status(200) == load.tally.total > 100
        site.running.await_idle()
        assert site.running.is_ready()


def test_reloads_under_load_lose_nothing_and_a_websocket_stays_open(tmp_path: Path, words: dict[str, str]) -> None:
    reload_often(tmp_path, words, 8)


@pytest.mark.long
def test_a_hundred_reloads_under_load_lose_nothing(tmp_path: Path, words: dict[str, str]) -> None:
    reload_often(tmp_path, words, 100)


def test_a_listener_comes_and_goes(tmp_path: Path, words: dict[str, str]) -> None:
    second = int(words["SECOND"])
    with reloadable(tmp_path, words) as site:
        with pytest.raises(ConnectionRefusedError):
            exchange(second, GET % b"/")
        site.reload(OTHER)
        assert exchange(second, GET % b"/").startswith(b"HTTP/1.1 200 ")
        with Client(second) as kept:
            assert kept.get("/").status == 200
            site.reload(ONE)
            eventually(lambda: is_refused(second), "the listener to go")
            answer = kept.get("/")
            assert (answer.status, answer.values("connection")) == (200, ["close"])


def is_refused(port: int) -> bool:
    try:
        exchange(port, GET % b"/")
    except ConnectionRefusedError:
        return True
    except ConnectionError:
        pass
    return False


def test_a_bucket_keeps_what_was_taken_from_it(tmp_path: Path, words: dict[str, str]) -> None:
    with reloadable(tmp_path, words) as site:
        site.reload(OTHER)
        taken = [exchange(site.running.port, GET % b"/only-here")[9:12] for _ in range(3)]
        site.reload(OTHER.replace("balance: round_robin, ", ""))
        assert [*taken, exchange(site.running.port, GET % b"/only-here")[9:12]] == [b"200", b"200", b"429", b"429"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("listeners: []\n", "listeners: the list is empty"),
        (ONE.replace("workers: 2", "workers: 2\nadmin: {bind: '127.0.0.1:1'}"), "admin"),
        (ONE.replace("clusters:", "  - {bind: '192.0.2.1:1', routes: [{match: {prefix: /}, cluster: app}]}\nclusters:"),
         "this machine does not have that address"),
    ],
    ids=["wrong", "admin twice", "an address that cannot be had"],
)  # fmt: skip
def test_a_configuration_that_cannot_be_served_is_refused_whole(
    text: str, reason: str, tmp_path: Path, words: dict[str, str]
) -> None:
    with reloadable(tmp_path, words) as site, Background(site.running.port) as load:
        site.write(text)
        site.running.process.send_signal(signal.SIGHUP)
        eventually(lambda: "the running configuration stays" in site.running.log, "the refusal")
        assert reason in site.running.log
        site.reload(OTHER)
    assert (load.tally.broken, load.tally.refused) == (0, 0)


def test_a_request_under_way_ends_as_it_began_and_pools_stay_warm(tmp_path: Path) -> None:
    gate = threading.Event()
    with recording_origin() as origin:
        origin.plays["/held"] = says_when(gate, OK)
        words = {"ORIGIN": origin.address, "SPARE": origin.address, "CHAT": origin.address, "SECOND": str(free_port())}
        with reloadable(tmp_path, words) as site, Client(site.running.port) as held, Client(site.running.port) as other:
            assert other.get("/warm").status == 200
            held.send("GET /held HTTP/1.1")
            eventually(lambda: origin.of("/held"), "the request at the origin")
            site.reload(ONE.replace("{prefix: /}", "{path: /warm}"))
            gate.set()
            assert held.read().status == 200
            assert (other.get("/warm").status, held.get("/held").status) == (200, 404)
            first, second = origin.of("/warm")
            assert first.connection == second.connection
