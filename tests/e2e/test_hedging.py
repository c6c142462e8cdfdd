"""Hedging with real origins that are slow, late or broken while a second try runs beside the first."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from tests.e2e.peers import OK, Client, Origin, Script, Seen, recording_origin, says, says_when
from tests.proxykit import Proxy, eventually, proxy

CONFIGURATION = """
workers: 1
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    routes:
      - {match: {prefix: /plain}, cluster: pair}
      - {match: {prefix: /broke}, cluster: broke, hedge: 20ms}
      - {match: {prefix: /alone}, cluster: alone, hedge: 20ms}
      - {match: {prefix: /short}, cluster: pair, hedge: 20ms, timeout: 300ms}
      - {match: {prefix: /again}, cluster: pair, hedge: 20ms, retry: {on: [5xx]}}
      - {match: {prefix: /load}, cluster: even, hedge: 20ms}
      - {match: {prefix: /learned}, cluster: learned, hedge: {percentile: 90}, timeout: 2s}
      - {match: {prefix: /}, cluster: pair, hedge: {after: 20ms}}
clusters:
  - {name: pair, balance: first, endpoints: [{address: ORIGIN, max_requests: 100}, OTHER]}
  - {name: broke, balance: first, endpoints: [{address: ORIGIN, max_requests: 100}, OTHER],
     retry_budget: {percent: 0, min_concurrency: 0}}
  - {name: alone, endpoints: [ORIGIN]}
  - {name: learned, balance: first, endpoints: [{address: ORIGIN, max_requests: 100}, OTHER]}
  - {name: even, max_requests: 30, endpoints: [ORIGIN, OTHER], retry_budget: {min_concurrency: 20}}
"""
NUMBERS = count()


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    """Asked first."""
    with recording_origin() as recording:
        yield recording


@pytest.fixture(scope="module")
def other() -> Iterator[Origin]:
    with recording_origin() as recording:
        yield recording


@pytest.fixture(scope="module")
def running(origin: Origin, other: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    text = CONFIGURATION.replace("ORIGIN", origin.address).replace("OTHER", other.address)
    with proxy(tmp_path_factory.mktemp("hedging"), text) as started:
        yield started


@pytest.fixture
def client(running: Proxy) -> Iterator[Client]:
    with Client(running.port) as connected:
        yield connected
    eventually(lambda: not any(under_way(running)), "every place and retry given back")


def under_way(running: Proxy) -> list[int]:
    """Requests at each endpoint, and retries, as all workers count them."""
    clusters = running.stats()["clusters"].values()
    at_endpoints = [one["active"] for cluster in clusters for one in cluster["endpoints"].values()]
    return [*at_endpoints, *(cluster[word] for cluster in clusters for word in ("active", "retries_active"))]


@pytest.fixture
def path() -> str:
    return f"/{next(NUMBERS)}"


def answers(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def silence(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the proxy closes."""
    await reader.read()
    raise asyncio.IncompleteReadError(b"", 1)


def after(moment: threading.Event, script: Script) -> Script:
    async def play(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says_when(moment, b"")(seen, reader, writer)
        await script(seen, reader, writer)

    return play


def saying(moment: threading.Event, script: Script) -> Script:
    """Tell others that the request is here."""

    async def play(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        moment.set()
        await script(seen, reader, writer)

    return play


def late(seconds: float, raw: bytes) -> Script:
    async def play(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        writer.write(raw)

    return play


def test_the_second_try_answers_when_the_first_is_slow_and_the_first_is_reset(
    client: Client, origin: Origin, other: Origin, path: str, running: Proxy
) -> None:
    before = running.stats()["clusters"]["pair"]["retries"]
    origin.plays[path], other.plays[path] = silence, says(answers(b"second" * 100_000))
    answer = client.get(path)
    assert (answer.status, answer.body, answer.is_whole) == (200, b"second" * 100_000, True)
    eventually(lambda: origin.only(path).connection in origin.closed, "the reset of the first")
    assert running.stats()["clusters"]["pair"]["retries"] == before + 1
    assert client.get("/plain").body == b"ok"


def test_a_quick_answer_is_not_hedged(client: Client, origin: Origin, other: Origin, path: str) -> None:
    assert [client.get(path).status for _ in range(20)] == [200] * 20
    assert (len(origin.of(path)), len(other.of(path))) == (20, 0)


def test_the_first_wins_if_its_head_comes_first(client: Client, origin: Origin, other: Origin, path: str) -> None:
    both = threading.Event()
    origin.plays[path], other.plays[path] = after(both, says(answers(b"first"))), saying(both, silence)
    assert client.get(path).body == b"first"
    eventually(lambda: other.only(path).connection in other.closed, "the reset of the second")


@pytest.mark.parametrize("loser", ["first", "second"])
def test_when_one_of_two_fails_the_other_answers(
    client: Client, origin: Origin, other: Origin, path: str, loser: str
) -> None:
    both, failed = threading.Event(), threading.Event()
    fails, wins = saying(failed, says(b"no HTTP at all\r\n\r\n")), after(failed, late(0.1, answers(b"other")))
    first, second = (fails, wins) if loser == "first" else (wins, fails)
    origin.plays[path], other.plays[path] = after(both, first), saying(both, second)
    assert client.get(path).body == b"other"
    assert (len(origin.of(path)), len(other.of(path))) == (1, 1)


@pytest.mark.parametrize(
    ("line", "body"), [("POST", b""), ("PATCH", b"a"), ("PUT", b"a"), ("GET", b"a")], ids=str
)
def test_what_may_not_run_twice_or_has_a_body_is_not_hedged(
    client: Client, origin: Origin, other: Origin, path: str, line: str, body: bytes
) -> None:
    origin.plays[path] = late(0.15, OK)
    assert client.ask(f"{line} {path} HTTP/1.1", f"Content-Length: {len(body)}", body=body).status == 200
    assert (len(origin.of(path)), len(other.of(path))) == (1, 0)


@pytest.mark.parametrize("route", ["/broke", "/alone", "/plain"])
def test_without_budget_or_another_endpoint_or_hedge_the_first_is_waited_for(
    client: Client, origin: Origin, other: Origin, path: str, route: str
) -> None:
    origin.plays[route + path] = late(0.15, OK)
    assert client.get(route + path).status == 200
    assert (len(origin.of(route + path)), len(other.of(route + path))) == (1, 0)


def test_an_interim_response_of_the_second_is_not_passed_on(
    client: Client, origin: Origin, other: Origin, path: str
) -> None:
    both = threading.Event()
    hints = says(b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n")
    origin.plays[path], other.plays[path] = after(both, late(0.05, answers(b"first"))), saying(both, hints)
    assert client.get(path).body == b"first"


def test_a_client_that_goes_takes_both_tries_with_it(
    client: Client, origin: Origin, other: Origin, path: str, running: Proxy
) -> None:
    origin.plays[path] = other.plays[path] = silence
    with Client(running.port) as leaving:
        leaving.send(f"GET {path} HTTP/1.1")
        eventually(lambda: origin.of(path) and other.of(path), "both tries")
        leaving.vanish()
    for one in (origin, other):
        eventually(lambda: one.only(path).connection in one.closed, "the reset", patience_s=5)  # noqa: B023


def test_the_timeout_of_the_route_bounds_both_tries(client: Client, origin: Origin, other: Origin) -> None:
    origin.plays["/short"] = other.plays["/short"] = silence
    answer = client.get("/short")
    assert (answer.status, answer.values("X-Shardproxy-Reason")) == (504, ["response_timeout"])
    assert (len(origin.of("/short")), len(other.of("/short"))) == (1, 1)


def test_a_status_of_the_second_may_be_retried(client: Client, origin: Origin, other: Origin) -> None:
    plays = iter([silence, says(answers(b"third"))])

    async def play(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await next(plays)(seen, reader, writer)

    origin.plays["/again"] = play
    other.plays["/again"] = says(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    assert client.get("/again").body == b"third"
    assert (len(origin.of("/again")), len(other.of("/again"))) == (2, 1)


def test_every_client_gets_its_own_answer_while_tries_race(
    client: Client, origin: Origin, other: Origin, running: Proxy
) -> None:
    draw = random.Random(7)

    async def racing(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(draw.choice((0, 0, 0.01, 0.02, 0.02, 0.03, 0.05)))
        if draw.random() < 0.05:
            writer.close()
        else:
            writer.write(answers(seen.target.encode() * draw.choice((1, 5000))))

    paths = [f"/load/{number}" for number in range(400)]
    origin.plays.update(dict.fromkeys(paths, racing))
    other.plays.update(dict.fromkeys(paths, racing))

    def ask(mine: list[str]) -> list[int]:
        with Client(running.port) as asking:
            found = [(path, asking.get(path)) for path in mine]
        assert all(set(one.body.decode().split("/load/")) == {"", path[6:]} for path, one in found if one.status == 200)
        return [one.status for _, one in found]

    with ThreadPoolExecutor(8) as pool:
        statuses = [status for some in pool.map(ask, [paths[number::8] for number in range(8)]) for status in some]
    assert set(statuses) <= {200, 502}
    assert statuses.count(502) < 40
    assert len(origin.seen) + len(other.seen) > len(paths)


def test_by_percentile_it_waits_as_long_as_slow_responses_take(
    client: Client, origin: Origin, other: Origin, path: str, running: Proxy
) -> None:
    """The cluster's responses take 30 ms or more, so a second try begins after that, once enough are known."""
    before = running.stats()["clusters"]["learned"]["retries"]
    origin.plays["/learned/usual"] = late(0.03, answers(b"first"))
    origin.plays["/learned/slow"], other.plays["/learned/slow"] = silence, says(answers(b"second"))
    for _ in range(120):
        assert client.get("/learned/usual").body == b"first"
    assert running.stats()["clusters"]["learned"]["retries"] - before <= 20

    def is_hedged() -> bool:
        with Client(running.port) as asking:
            return asking.get("/learned/slow").body == b"second"

    eventually(is_hedged, "a second try")
