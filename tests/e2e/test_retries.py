"""Retries with real origins that refuse, reset, are late, or answer 503 a few times."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.peers import OK, Client, Origin, Script, Seen, recording_origin, says
from tests.load import press
from tests.proxykit import Proxy, eventually, free_port, proxy, scripted_origin

CONFIGURATION = """
workers: 1
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    routes:
      - {match: {prefix: /none}, cluster: both}
      - {match: {prefix: /connect}, cluster: both, retry: {on: [connect-failure]}}
      - {match: {prefix: /refused}, cluster: both, retry: {on: [refused]}}
      - {match: {prefix: /reset}, cluster: one, retry: {on: [reset]}}
      - {match: {prefix: /small}, cluster: one, retry: {on: [reset], max_body: 1KiB}}
      - {match: {prefix: /gateway}, cluster: one, retry: {on: [gateway-error], attempts: 2}}
      - {match: {prefix: /status}, cluster: one, retry: {on: [retriable-status], statuses: [409]}}
      - {match: {prefix: /marked}, cluster: one, retry: {on: [retriable-headers], headers: [X-Retry-Me], attempts: 2}}
      - {match: {prefix: /late}, cluster: one, retry: {on: [gateway-error], per_try_timeout: 200ms}}
      - match: {prefix: /whole}
        cluster: one
        timeout: 400ms
        retry: {on: [reset], attempts: 10, per_try_timeout: 150ms}
      - {match: {prefix: /slow}, cluster: one, retry: {on: [5xx], backoff: {base: 30s}}, timeout: 5m}
      - {match: {prefix: /broke}, cluster: broke, retry: {on: [5xx]}}
      - {match: {prefix: /}, cluster: pair, retry: {on: [5xx], attempts: 1}}
clusters:
  - {name: one, endpoints: [ORIGIN]}
  - {name: both, balance: round_robin, endpoints: ["127.0.0.1:CLOSED", ORIGIN]}
  - {name: pair, balance: round_robin, endpoints: [ORIGIN, OTHER]}
  - {name: broke, endpoints: [ORIGIN], retry_budget: {percent: 0, min_concurrency: 0}}
"""
BODY = bytes(range(256)) * 200
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with recording_origin() as recording:
        yield recording


@pytest.fixture(scope="module")
def other() -> Iterator[Origin]:
    with recording_origin() as recording:
        yield recording


@pytest.fixture(scope="module")
def running(origin: Origin, other: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    text = CONFIGURATION.replace("ORIGIN", origin.address).replace("OTHER", other.address)
    with proxy(tmp_path_factory.mktemp("retries"), text.replace("CLOSED", str(free_port()))) as started:
        yield started


@pytest.fixture
def client(running: Proxy) -> Iterator[Client]:
    with Client(running.port) as connected:
        yield connected


def first(times: int, script: Script, then: Script) -> Script:
    """`script` so many times, afterwards `then`."""
    left = times

    async def play(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        left -= 1
        await (script if left >= 0 else then)(seen, reader, writer)

    return play


async def silence(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


RESETS = says(then="reset")


def cluster(running: Proxy, name: str) -> dict[str, int]:
    return dict(running.stats()["clusters"][name])


@pytest.mark.parametrize("path", ["/connect", "/refused"])
def test_a_refused_connection_is_tried_at_the_other_endpoint(client: Client, path: str) -> None:
    assert [client.ask(f"POST {path} HTTP/1.1", "Content-Length: 2", body=b"hi").status for _ in range(6)] == [200] * 6


def test_without_retry_a_refused_connection_is_answered_with_502(client: Client) -> None:
    assert Counter(client.get("/none").status for _ in range(6)) == {200: 3, 502: 3}


def test_a_reset_is_tried_again_where_the_route_says_so_whatever_the_method(client: Client, origin: Origin) -> None:
    origin.plays["/reset"] = first(1, RESETS, says(OK))
    assert client.ask("POST /reset HTTP/1.1", "Content-Length: 2", body=b"hi").status == 200
    assert [seen.body for seen in origin.of("/reset")] == [b"hi", b"hi"]


def test_a_post_that_may_have_run_is_not_repeated_where_the_route_only_names_connect_failures(
    client: Client, origin: Origin
) -> None:
    origin.plays["/connect/post"] = RESETS
    statuses = [client.ask("POST /connect/post HTTP/1.1", "Content-Length: 2", body=b"hi").status for _ in range(2)]
    assert statuses == [502, 502]
    assert len(origin.of("/connect/post")) == 2


def test_503_is_tried_again_as_often_as_allowed(client: Client, origin: Origin, running: Proxy) -> None:
    before = cluster(running, "one")["retries"]
    origin.plays["/gateway/2"] = first(2, says(UNAVAILABLE), says(OK))
    assert client.get("/gateway/2").status == 200
    assert len(origin.of("/gateway/2")) == 3
    assert cluster(running, "one")["retries"] == before + 2


def test_the_last_answer_goes_to_the_client_when_attempts_are_used_up(client: Client, origin: Origin) -> None:
    origin.plays["/gateway/9"] = says(UNAVAILABLE)
    answer = client.get("/gateway/9")
    assert (answer.status, answer.body, answer.is_whole) == (503, b"busy", True)
    assert len(origin.of("/gateway/9")) == 3
    assert client.get("/gateway/ok").status == 200


def test_the_last_reason_goes_to_the_client_when_no_try_had_an_answer(client: Client, origin: Origin) -> None:
    origin.plays["/gateway/reset"] = RESETS
    request = "POST /gateway/reset HTTP/1.1"  # a GET could be sent once more on account of a stale connection
    assert client.ask(request, "Content-Length: 0").status == 502
    assert len(origin.of("/gateway/reset")) == 3


def test_named_statuses_are_tried_again_and_others_are_not(client: Client, origin: Origin) -> None:
    origin.plays["/status"] = first(1, says(UNAVAILABLE.replace(b"503", b"409")), says(OK))
    origin.plays["/status/503"] = says(UNAVAILABLE)
    assert (client.get("/status").status, client.get("/status/503").status) == (200, 503)
    assert (len(origin.of("/status")), len(origin.of("/status/503"))) == (2, 1)


def test_a_response_that_has_one_of_the_named_fields_is_tried_again_whatever_its_status(
    client: Client, origin: Origin
) -> None:
    marked = OK.replace(b"\r\n\r\n", b"\r\nx-retry-me: later\r\n\r\n")
    origin.plays["/marked/1"] = first(1, says(marked), says(OK))
    origin.plays["/marked/9"] = says(marked)
    origin.plays["/marked/503"] = says(UNAVAILABLE)
    assert client.get("/marked/1").values("X-Retry-Me") == []
    assert client.get("/marked/9").values("X-Retry-Me") == ["later"]
    assert client.get("/marked/503").status == 503
    assert [len(origin.of(f"/marked/{path}")) for path in (1, 9, 503)] == [2, 3, 1]


def test_a_try_that_takes_too_long_is_given_up_for_another(client: Client, origin: Origin) -> None:
    origin.plays["/late"] = first(1, silence, says(OK))
    assert client.get("/late").status == 200
    origin.plays["/late/always"] = silence
    answer = client.get("/late/always")
    assert (answer.status, answer.values("X-Shardproxy-Reason")) == (504, ["response_timeout"])
    assert eventually(lambda: len(origin.of("/late/always")), "both tries") == 2


def test_the_timeout_of_the_route_bounds_all_tries_together(client: Client, origin: Origin) -> None:
    origin.plays["/whole"] = silence
    began = time.monotonic()
    answer = client.get("/whole")
    assert (answer.status, answer.values("X-Shardproxy-Reason")) == (504, ["response_timeout"])
    assert 0.2 < time.monotonic() - began < 1.5
    assert 2 <= len(origin.of("/whole")) <= 3


def test_another_endpoint_is_asked_than_before(client: Client, origin: Origin, other: Origin) -> None:
    origin.plays["/pair"] = says(UNAVAILABLE)
    assert [client.get("/pair").status for _ in range(8)] == [200] * 8
    assert len(other.of("/pair")) == 8


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_the_body_is_sent_again_byte_by_byte(client: Client, origin: Origin, chunked: bool) -> None:
    path = f"/reset/body/{chunked}"
    origin.plays[path] = first(1, RESETS, says(OK))
    if chunked:
        pieces = [BODY[at : at + 7001] for at in range(0, len(BODY), 7001)]
        raw = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        answer = client.ask(f"POST {path} HTTP/1.1", "Transfer-Encoding: chunked", body=raw)
    else:
        answer = client.ask(f"PUT {path} HTTP/1.1", f"Content-Length: {len(BODY)}", body=BODY)
    assert answer.status == 200
    assert [seen.body for seen in origin.of(path)] == [BODY, BODY]


def test_a_body_that_is_still_coming_when_the_first_try_fails_arrives_whole(client: Client, origin: Origin) -> None:
    origin.early["/reset/early"] = first(1, RESETS, then=says())
    client.send("PUT /reset/early HTTP/1.1", f"Content-Length: {len(BODY)}", body=BODY[:100])
    client.socket.sendall(BODY[100:])
    assert client.read().status == 200
    assert origin.only("/reset/early").body == BODY


def test_a_body_beyond_max_body_is_not_sent_again(client: Client, origin: Origin) -> None:
    for size, status in ((1024, 200), (1025, 502)):
        origin.plays[f"/small/{size}"] = first(1, RESETS, says(OK))
        request = f"PUT /small/{size} HTTP/1.1"
        with Client(client.socket.getpeername()[1]) as one:
            assert one.ask(request, f"Content-Length: {size}", body=BODY[:size]).status == status


def test_nothing_is_tried_again_once_something_of_an_answer_is_out(client: Client, origin: Origin) -> None:
    origin.plays["/reset/cut"] = says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", then="reset")
    assert not client.get("/reset/cut").is_whole
    assert len(origin.of("/reset/cut")) == 1


def test_nothing_is_tried_again_after_an_interim_answer(client: Client, origin: Origin) -> None:
    origin.plays["/reset/interim"] = says(b"HTTP/1.1 103 Early Hints\r\n\r\n", then="close")
    client.send("GET /reset/interim HTTP/1.1")
    assert [client.read().status for _ in range(2)] == [103, 502]
    assert len(origin.of("/reset/interim")) == 1


def test_a_client_that_leaves_during_the_back_off_leaves_nothing_behind(running: Proxy, origin: Origin) -> None:
    origin.plays["/slow"] = says(UNAVAILABLE)
    with Client(running.port) as leaving:
        leaving.send("GET /slow HTTP/1.1")
        eventually(lambda: cluster(running, "one")["retries_active"] == 1, "the back-off")
        assert cluster(running, "one")["active"] == 0
        leaving.vanish()
    eventually(lambda: cluster(running, "one")["retries_active"] == 0, "the retry to be given up")
    assert len(origin.of("/slow")) == 1


def test_a_budget_of_nothing_hands_on_the_first_failure(client: Client, origin: Origin, running: Proxy) -> None:
    origin.plays["/broke"] = says(UNAVAILABLE)
    assert client.get("/broke").status == 503
    assert len(origin.of("/broke")) == 1
    assert (cluster(running, "broke")["retries"], cluster(running, "broke")["retries_refused"]) == (0, 1)


# The budget ----------------------------------------------------------------------------------------------------------

FAILING = """
workers: 4
log: {level: warning}
listeners:
  - {bind: "127.0.0.1:PORT", routes: [{match: {prefix: /}, cluster: app, retry: {on: [5xx]}}]}
clusters:
  - {name: app, endpoints: [ORIGIN, OTHER], retry_budget: {percent: 20, min_concurrency: 3}}
"""
OFFERED = 100


@dataclass
class Outage:
    """Endpoints that fail every request, each only once `OFFERED` first tries have come, so that all run at a time.

    Further tries are known by their request id; they are held until `is_done`, so that each keeps its place.
    """

    tries: Counter[str] = field(default_factory=Counter)
    is_done: threading.Event = field(default_factory=threading.Event)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            name = head.split(b"x-request-id:")[1].split(b"\r\n")[0].strip().decode()
            self.tries[name] += 1
            is_retry = self.tries[name] > 1
            while len(self.tries) < OFFERED or (is_retry and not self.is_done.is_set()):
                await asyncio.sleep(0.005)
            writer.write(UNAVAILABLE)


@contextmanager
def many(port: int, number: int) -> Iterator[list[Client]]:
    clients = [Client(port) for _ in range(number)]
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


def test_four_workers_together_keep_the_budget_when_every_endpoint_fails(tmp_path: Path) -> None:
    outage = Outage()
    with (
        scripted_origin(outage.handle) as one,
        scripted_origin(outage.handle) as two,
        proxy(tmp_path, FAILING.replace("ORIGIN", one).replace("OTHER", two)) as running,
        many(running.port, OFFERED) as clients,
    ):
        for client in clients:
            client.send("GET / HTTP/1.1")

        def settled() -> bool:
            now = cluster(running, "app")
            return now["retries"] + now["retries_refused"] == OFFERED

        eventually(settled, "a decision on every first failure")
        assert 3 <= cluster(running, "app")["retries_active"] <= OFFERED * 20 // 100
        outage.is_done.set()
        assert Counter(client.read().status for client in clients) == {503: OFFERED}
        running.await_idle()
        after = cluster(running, "app")
        assert after["retries_active"] == 0
        assert outage.tries.total() == OFFERED + after["retries"] <= OFFERED * 1.2 + 3


@dataclass
class Crowd:
    """Endpoints that work for a moment and fail; counts how many repeated requests there are at a time."""

    seen: set[str] = field(default_factory=set)
    total: int = 0
    retries: int = 0
    most: int = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            name = head.split(b"x-request-id:")[1].split(b"\r\n")[0].strip().decode()
            is_retry = name in self.seen
            self.seen.add(name)
            self.total += 1
            self.retries += is_retry
            self.most = max(self.most, self.retries)
            await asyncio.sleep(0.01)  # this is the work
            self.retries -= is_retry
            writer.write(UNAVAILABLE)


def test_an_outage_under_load_is_not_amplified_beyond_the_budget(tmp_path: Path) -> None:
    crowd, clients = Crowd(), 48
    with (
        scripted_origin(crowd.handle) as one,
        scripted_origin(crowd.handle) as two,
        proxy(tmp_path, FAILING.replace("ORIGIN", one).replace("OTHER", two)) as running,
    ):
        tally = asyncio.run(press(running.port, clients=clients, seconds=1.5))
        running.await_idle()
        after = cluster(running, "app")
    assert tally.with_status(503) == tally.total > 200
    assert (tally.broken, tally.refused, after["retries_active"]) == (0, 0, 0)
    assert 3 <= crowd.most <= clients * 20 // 100
    assert crowd.total == tally.total + after["retries"] <= tally.total * 1.2 + 3
    assert after["retries_refused"] > 0
