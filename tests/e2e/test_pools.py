"""Connections to endpoints: kept, reused last in first out, and given up in any doubt."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.peers import OK, Client, Origin, Seen, recording_origin, says, says_when
from tests.proxykit import Proxy, eventually, proxy

CONFIGURATION = """
workers: 1
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    routes:
      - {match: {prefix: /brief}, cluster: brief}
      - {match: {prefix: /thrice}, cluster: thrice}
      - {match: {prefix: /unkept}, cluster: unkept, timeout: 1s}
      - {match: {prefix: /narrow}, cluster: narrow}
      - {match: {prefix: /slim}, cluster: slim}
      - {match: {prefix: /}, cluster: app}
clusters:
  - {name: app, endpoints: [ORIGIN]}
  - {name: brief, endpoints: [ORIGIN], keepalive: {idle_timeout: 200ms}}
  - {name: thrice, endpoints: [ORIGIN], keepalive: {max_requests: 3}}
  - {name: unkept, endpoints: [ORIGIN], keepalive: {max_idle: 0}}
  - {name: narrow, max_connections: 1, endpoints: [ORIGIN]}
  - {name: slim, max_connections: 9, endpoints: [{address: ORIGIN, max_connections: 1}]}
"""


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with recording_origin() as recording:
        yield recording


@pytest.fixture(scope="module")
def running(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with proxy(tmp_path_factory.mktemp("pools"), CONFIGURATION.replace("ORIGIN", origin.address)) as started:
        yield started


@pytest.fixture
def client(running: Proxy) -> Iterator[Client]:
    with Client(running.port) as connected:
        yield connected


def numbers(origin: Origin, target: str) -> list[int]:
    return [seen.connection for seen in origin.of(target)]


def test_one_connection_serves_all_clients_that_come_one_after_the_other(running: Proxy, origin: Origin) -> None:
    for _ in range(3):
        with Client(running.port) as client:
            client.get("/shared")
            client.get("/shared")
    assert len(numbers(origin, "/shared")) == 6
    assert len(set(numbers(origin, "/shared"))) == 1


def test_of_two_idle_connections_the_last_used_is_taken(client: Client, running: Proxy, origin: Origin) -> None:
    gates = {name: threading.Event() for name in ("a", "b")}
    with Client(running.port) as other:
        for name, sender in (("a", client), ("b", other)):
            origin.plays[f"/{name}"] = says_when(gates[name], OK)
            sender.send(f"GET /{name} HTTP/1.1")
            eventually(lambda name=name: origin.of(f"/{name}"), "the request")  # type: ignore[misc]
        for last, sender in (("a", client), ("b", other)):
            gates[last].set()
            sender.read()
    assert [client.get("/last").status for _ in range(3)] == [200] * 3
    assert numbers(origin, "/last") == [origin.only("/b").connection] * 3


def test_an_idle_connection_is_closed_in_time(client: Client, origin: Origin) -> None:
    client.get("/brief")
    (used,) = numbers(origin, "/brief")
    eventually(lambda: used in origin.closed, "the idle connection to be closed")


def test_a_connection_is_not_used_more_often_than_allowed(client: Client, origin: Origin) -> None:
    for _ in range(7):
        client.get("/thrice")
    used = numbers(origin, "/thrice")
    assert [used.count(number) for number in sorted(set(used))] == [3, 3, 1]
    assert used == sorted(used)


def test_without_keepalive_every_request_has_a_connection_of_its_own(client: Client, origin: Origin) -> None:
    for _ in range(3):
        client.get("/unkept")
    assert len(set(numbers(origin, "/unkept"))) == 3


@pytest.mark.parametrize("cluster", ["narrow", "slim"])
def test_connections_of_a_cluster_and_of_an_endpoint_are_bounded(
    cluster: str, client: Client, running: Proxy, origin: Origin
) -> None:
    gate = threading.Event()
    origin.plays[f"/{cluster}/held"] = says_when(gate, OK)
    with Client(running.port) as other:
        other.send(f"GET /{cluster}/held HTTP/1.1")
        eventually(lambda: origin.of(f"/{cluster}/held"), "the request")
        answer = client.get(f"/{cluster}")
        gate.set()
        assert other.read().status == 200
    assert (answer.status, answer.values("x-shardproxy-reason")) == (503, ["overflow"])
    assert client.get(f"/{cluster}").status == 200
    assert running.stats()["clusters"][cluster]["connections"] == 1


def test_at_the_connections_of_an_endpoint_workers_have_no_more_together(tmp_path: Path) -> None:
    with recording_origin() as other:
        text = CONFIGURATION.replace("ORIGIN", other.address).replace("workers: 1", "workers: 4")
        with proxy(tmp_path, text) as running:
            seen = []
            for _ in range(40):
                with Client(running.port) as client:
                    seen.append(client.get("/slim").status)
                assert running.stats()["clusters"]["slim"]["connections"] == 1
            assert set(seen) <= {200, 503}
            assert seen[0] == 200


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("PUT", 200), ("POST", 502)])
def test_a_stale_connection_is_replaced_only_for_what_may_be_sent_twice(
    method: str, status: int, client: Client, origin: Origin
) -> None:
    """The origin ends each connection that has served a request before."""

    async def only_first(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if sum(other.connection == seen.connection for other in origin.seen) > 1:
            writer.close()
        else:
            writer.write(OK)

    target = f"/thrice/{method}"
    origin.plays[target] = only_first
    assert client.get("/thrice/before").status == 200
    answer = client.ask(f"{method} {target} HTTP/1.1")
    assert answer.status == status
    assert len(origin.of(target)) == (2 if status == 200 else 1)


def test_a_stale_connection_is_not_replaced_when_a_body_has_gone_out(client: Client, origin: Origin) -> None:
    origin.plays["/stale-body"] = says(then="close")
    assert client.get("/").status == 200
    answer = client.ask("PUT /stale-body HTTP/1.1", "Content-Length: 2", body=b"hi")
    assert (answer.status, len(origin.of("/stale-body"))) == (502, 1)


def test_a_fresh_connection_that_is_closed_without_an_answer_is_not_tried_again(client: Client, origin: Origin) -> None:
    origin.plays["/unkept/refuses"] = says(then="close")
    answer = client.get("/unkept/refuses")
    assert (answer.status, answer.values("x-shardproxy-reason")) == (502, ["upstream_gone"])
    assert len(origin.of("/unkept/refuses")) == 1


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("more", OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        ("close", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
        ("old", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("bare", b"HTTP/1.1 204 No Content\r\n\r\nbody"),
    ],
)
def test_a_connection_in_doubt_serves_nobody_else(name: str, answer: bytes, client: Client, origin: Origin) -> None:
    doubtful, following = f"/doubt/{name}", f"/after/{name}"
    origin.plays[doubtful] = says(answer)
    assert client.get(doubtful).status == int(answer[9:12])
    assert client.get(following).body == b"ok"
    assert numbers(origin, following) != numbers(origin, doubtful)
    eventually(lambda: origin.only(doubtful).connection in origin.closed, "the connection to be closed")


def test_bytes_that_nobody_asked_for_reach_nobody(client: Client, origin: Origin) -> None:
    gate = threading.Event()

    async def speaks_again(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        while not gate.is_set():
            await asyncio.sleep(0.005)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    origin.plays["/speaks"] = speaks_again
    assert client.get("/speaks").body == b"ok"
    gate.set()
    eventually(lambda: origin.only("/speaks").connection in origin.closed, "the connection to be closed")
    assert client.get("/next").body == b"ok"


def test_an_early_answer_to_half_a_body_gives_up_the_connection(client: Client, origin: Origin) -> None:
    origin.early["/early"] = says(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
    client.get("/")
    client.send("POST /early HTTP/1.1", "Content-Length: 1000", body=b"half")
    assert client.read().status == 403
    assert client.is_closed()
    eventually(lambda: max(numbers(origin, "/")) in origin.closed, "the half-used connection to be closed")
    assert origin.of("/early") == []


@pytest.mark.parametrize("sent", [b"", b"half"])
def test_a_new_connection_brings_the_head_at_once_though_the_body_is_not_complete(
    sent: bytes, client: Client, origin: Origin
) -> None:
    origin.early["/unkept/head"] = says(b"HTTP/1.1 100 Continue\r\n\r\n")
    client.send("POST /unkept/head HTTP/1.1", "Expect: 100-continue", "Content-Length: 8", body=sent)
    assert client.read().status == 100
    client.socket.sendall(b"halfhalf"[len(sent) :])
    assert client.read().status == 200


def test_at_max_connections_an_idle_one_makes_way_for_one_to_another_endpoint(
    tmp_path: Path, origin: Origin
) -> None:
    with recording_origin() as other:
        text = CONFIGURATION.replace("ORIGIN", origin.address).replace(
            f"max_connections: 1, endpoints: [{origin.address}]",
            f"max_connections: 1, balance: round_robin, endpoints: [{origin.address}, {other.address}]",
        )
        with proxy(tmp_path, text) as running, Client(running.port) as client:
            assert [client.get("/narrow/turns").status for _ in range(6)] == [200] * 6
            assert running.stats()["clusters"]["narrow"]["connections"] == 1
        assert len(other.of("/narrow/turns")) == len(origin.of("/narrow/turns")) == 3
