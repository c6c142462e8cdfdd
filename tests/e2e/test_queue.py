"""Waiting for a free place: over all workers together, first by class, then by arrival, and never beyond a cap."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.arrivals import Arrivals, ideal_waits_ms, quantile, waits_ms
from tests.capacity import Report, capacity_origin
from tests.e2e.peers import OK, Client, Origin, recording_origin, says_when
from tests.proxykit import Proxy, eventually, proxy

CONFIGURATION = """
workers: WORKERS
drain_timeout: 20s
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    timeouts: {idle: 20m}
    routes:
      - {match: {prefix: /high}, cluster: app, priority: high}
      - {match: {prefix: /low}, cluster: app, priority: low}
      - {match: {prefix: /asked}, cluster: app, priority_field: X-Priority}
      - {match: {prefix: /again}, cluster: app, retry: {on: [5xx]}}
      - {match: {prefix: /}, cluster: app, timeout: 60s}
clusters:
  - {name: app, CLUSTER queue: {QUEUE}, endpoints: [{address: "ORIGIN" ENDPOINT}]}
"""
ONE_AT_A_TIME = ", max_requests: 1"


def configured(
    origin: str,
    *,
    workers: int = 4,
    cluster: str = "",
    endpoint: str = ONE_AT_A_TIME,
    queue: str = "max: 2000, timeout: 60s",
) -> str:
    text = CONFIGURATION.replace("WORKERS", str(workers)).replace("ORIGIN", origin)
    return text.replace("CLUSTER", cluster).replace("ENDPOINT", endpoint).replace("QUEUE", queue)


def queue_of(running: Proxy) -> dict[str, Any]:
    return dict(running.stats()["clusters"]["app"]["queue"])


def wait_for(running: Proxy, waiting: int) -> None:
    eventually(lambda: queue_of(running)["waiting"] == waiting, f"{waiting} to wait")


# Never above, never late ----------------------------------------------------------------------------------------------


def one_line_for_all(tmp_path: Path, requests: int, *, work_ms: float, busy: float) -> tuple[float, float]:
    """The p99 of the waits, and what it would be in one ideal line: timed, so only long runs compare them."""
    with capacity_origin(work_ms) as origin, proxy(tmp_path, configured(origin.address)) as running:
        arrivals = Arrivals(running.port)
        asyncio.run(arrivals.poisson(requests, busy / (work_ms / 1000)))
        report = origin.report()
        running.await_idle()
        numbers = queue_of(running)
    assert arrivals.statuses == {200: requests}
    assert (report.most, len(report.spans)) == (1, requests)
    assert numbers["waiting"] == numbers["timeouts"] == numbers["refused"] == 0
    assert numbers["queued"] == numbers["time"]["count"] > requests / 10
    return compared(report, arrivals)


def compared(report: Report, arrivals: Arrivals) -> tuple[float, float]:
    real = quantile(waits_ms(report.spans, arrivals.sent_ns), 0.99)
    ideal = quantile(ideal_waits_ms(report.spans, arrivals.sent_ns), 0.99)
    print(f"p99 wait over {len(report.spans)}: {real:.2f} ms; of one ideal line: {ideal:.2f} ms")
    return real, ideal


def test_an_origin_of_capacity_one_never_has_two_requests_at_a_time(tmp_path: Path) -> None:
    one_line_for_all(tmp_path, 5_000, work_ms=2, busy=0.5)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_in_a_hundred_thousand_requests_no_two_overlap_and_nobody_waits_twice_as_long_as_in_one_line(
    tmp_path: Path,
) -> None:
    real, ideal = one_line_for_all(tmp_path, 100_000, work_ms=2, busy=0.5)
    assert real < 2 * ideal


def never_fifty_one(tmp_path: Path, requests: int) -> None:
    text = configured("ORIGIN", cluster="max_requests: 50,", endpoint="")
    with capacity_origin(2) as origin, proxy(tmp_path, text.replace("ORIGIN", origin.address)) as running:
        arrivals = Arrivals(running.port)
        asyncio.run(arrivals.at_once(requests, 500))
        report = origin.report()
        running.await_idle()
        assert queue_of(running)["waiting"] == 0
    assert arrivals.statuses == {200: requests}
    assert report.most == 50


def test_of_five_hundred_at_once_never_more_than_fifty_reach_the_origin_and_all_are_answered(tmp_path: Path) -> None:
    never_fifty_one(tmp_path, 5_000)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_in_a_hundred_thousand_requests_fifty_is_never_exceeded(tmp_path: Path) -> None:
    never_fifty_one(tmp_path, 100_000)


# One waits, and then ... ----------------------------------------------------------------------------------------------


class Line:
    """Clients in line behind one whose request the origin holds until `go` is set."""

    def __init__(self, running: Proxy, origin: Origin, stack: ExitStack) -> None:
        self.running = running
        self.origin = origin
        self.stack = stack
        self.go = threading.Event()
        origin.plays["/held"] = says_when(self.go, OK)
        self.clients: list[Client] = []
        self.join("/held", waiting=0)
        eventually(lambda: origin.of("/held"), "the origin to have the request")

    def join(self, target: str, *fields: str, waiting: int | None = None) -> Client:
        """One more; returns once `waiting` are in line (default: one more than there were)."""
        before = queue_of(self.running)["waiting"]
        client = self.stack.enter_context(Client(self.running.port))
        client.send(f"GET {target} HTTP/1.1", *fields)
        self.clients.append(client)
        wait_for(self.running, before + 1 if waiting is None else waiting)
        return client

    def served(self) -> list[str]:
        """Let all go; the targets in the order in which the origin got them, without the first."""
        self.go.set()
        for client in self.clients:
            client.read()
        return [seen.target for seen in self.origin.seen if seen.target != "/held"]


@pytest.fixture
def stack() -> Any:
    with ExitStack() as stack:
        yield stack


def line(tmp_path: Path, stack: ExitStack, **options: Any) -> Line:
    origin = stack.enter_context(recording_origin())
    running = stack.enter_context(proxy(tmp_path, configured(origin.address, **options)))
    return Line(running, origin, stack)


def test_first_come_first_served_whichever_worker_they_came_to(tmp_path: Path, stack: ExitStack) -> None:
    queue = line(tmp_path, stack)
    for number in range(24):
        queue.join(f"/{number}")
    assert queue.served() == [f"/{number}" for number in range(24)]


def test_higher_classes_are_served_first_and_a_field_may_say_which(tmp_path: Path, stack: ExitStack) -> None:
    queue = line(tmp_path, stack)
    for round_ in range(4):
        queue.join(f"/low/{round_}")
        queue.join(f"/asked/{round_}", "X-Priority: Low")
        queue.join(f"/{round_}")
        queue.join(f"/asked/n{round_}", "X-Priority: whatever")
        queue.join(f"/high/{round_}")
        queue.join(f"/asked/h{round_}", "x-priority: high")
    high = [name for n in range(4) for name in (f"/high/{n}", f"/asked/h{n}")]
    normal = [name for n in range(4) for name in (f"/{n}", f"/asked/n{n}")]
    low = [name for n in range(4) for name in (f"/low/{n}", f"/asked/{n}")]
    assert queue.served() == high + normal + low


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again(tmp_path: Path, stack: ExitStack) -> None:
    queue = line(tmp_path, stack, queue="max: 2, timeout: 60s")
    queue.join("/1")
    queue.join("/2")
    with Client(queue.running.port) as late:
        answer = late.get("/3")
    assert answer.status == 503
    assert answer.values("X-Shardproxy-Reason") == ["overflow"]
    assert answer.values("Retry-After") == ["1"]
    assert queue_of(queue.running)["refused"] == 1
    assert queue.served() == ["/1", "/2"]


def test_who_waits_too_long_is_told_so(tmp_path: Path, stack: ExitStack) -> None:
    queue = line(tmp_path, stack, queue="max: 10, timeout: 200ms")
    answer = queue.join("/late").read()
    assert answer.status == 503
    assert answer.values("X-Shardproxy-Reason") == ["queue_timeout"]
    assert answer.values("Retry-After") == ["1"]
    numbers = queue_of(queue.running)
    assert (numbers["waiting"], numbers["timeouts"]) == (0, 1)
    queue.clients.pop()
    assert queue.served() == []


@pytest.mark.parametrize("way", ["close", "vanish"])
@pytest.mark.parametrize("body", [b"", b"hello"])
def test_a_client_that_leaves_leaves_the_queue(tmp_path: Path, stack: ExitStack, way: str, body: bytes) -> None:
    queue = line(tmp_path, stack)
    leaving = Client(queue.running.port)
    leaving.send("POST /gone HTTP/1.1", f"Content-Length: {len(body)}", body=body)
    wait_for(queue.running, 1)
    queue.join("/stays")
    getattr(leaving, way)()
    wait_for(queue.running, 1)
    assert queue.served() == ["/stays"]


def test_a_body_waits_with_its_request(tmp_path: Path, stack: ExitStack) -> None:
    queue = line(tmp_path, stack)
    large = bytes(range(256)) * 4096
    poster = stack.enter_context(Client(queue.running.port))
    sender = threading.Thread(
        target=poster.send, args=("POST /large HTTP/1.1", f"Content-Length: {len(large)}"), kwargs={"body": large}
    )
    sender.start()
    wait_for(queue.running, 1)
    queue.clients.append(poster)
    assert queue.served() == ["/large"]
    sender.join()
    assert queue.origin.only("/large").body == large


def test_a_retry_waits_for_a_place_too(tmp_path: Path, stack: ExitStack) -> None:
    queue = line(tmp_path, stack, workers=1)
    tries = []

    async def fails_first(seen: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tries.append(seen)
        writer.write(OK if len(tries) > 1 else b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")

    queue.origin.plays["/again"] = fails_first
    queue.join("/again")
    for number in range(8):
        queue.join(f"/{number}")
    assert sorted(queue.served()) == ["/0", "/1", "/2", "/3", "/4", "/5", "/6", "/7", "/again", "/again"]


# What operators do ----------------------------------------------------------------------------------------------------


def reload(running: Proxy, file: Path) -> None:
    file.write_text(file.read_text().replace("timeout: 60s}, endpoints", "timeout: 50s}, endpoints"))
    running.process.send_signal(signal.SIGHUP)
    eventually(lambda: running.stats()["version"] == 2, "the new configuration")


def restart(running: Proxy, file: Path) -> None:
    running.process.send_signal(signal.SIGUSR2)
    eventually(lambda: any(one["generation"] == 2 for one in running.stats()["workers"]), "the new generation")
    eventually(lambda: [one["state"] for one in running.stats()["workers"]].count("draining") == 2, "the old to drain")


@pytest.mark.parametrize("act", [reload, restart])
def test_who_waits_is_served_in_turn_after_a_reload_or_a_hot_restart(
    tmp_path: Path, stack: ExitStack, act: Any
) -> None:
    queue = line(tmp_path, stack, workers=2)
    for number in range(6):
        queue.join(f"/before/{number}")
    act(queue.running, next(tmp_path.glob("*.yaml")))
    for number in range(6):
        queue.join(f"/after/{number}")
    assert queue.served() == [f"/{when}/{number}" for when in ("before", "after") for number in range(6)]


def test_a_worker_that_dies_with_the_only_place_gives_it_to_who_waits(tmp_path: Path, stack: ExitStack) -> None:
    queue = line(tmp_path, stack, workers=2)
    holder = next(one["pid"] for one in queue.running.stats()["workers"] if one["active"])
    others: list[Client] = []
    while len(others) < 4:
        waiting = queue_of(queue.running)["waiting"]
        client = queue.join(f"/{len(queue.clients)}")
        assert queue_of(queue.running)["waiting"] == waiting + 1
        others.append(client)
    os.kill(holder, signal.SIGKILL)
    answers = []
    for client in others:
        try:
            answers.append(client.read().status)
        except (AssertionError, OSError):
            answers.append(0)  # it was the dead one's
    assert 200 in answers
    wait_for(queue.running, 0)


# Who is refused first -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 4])
def test_when_the_queue_is_full_the_youngest_of_the_lowest_class_makes_way(
    tmp_path: Path, stack: ExitStack, workers: int
) -> None:
    queue = line(tmp_path, stack, workers=workers, queue="max: 6, timeout: 60s")
    old = [queue.join(f"/low/{number}") for number in range(6)]
    assert ask_for_more(queue, "/low/late") == 503
    new = [queue.join(f"/{number}", waiting=6) for number in range(3)]
    best = [queue.join(f"/high/{number}", waiting=6) for number in range(2)]
    assert ask_for_more(queue, "/low/late") == 503
    eventually(lambda: queue_of(queue.running)["refused"] == 7, "five to make way")
    queue.go.set()
    answers = {name: [client.read().status for client in group] for name, group in
               (("low", old), ("normal", new), ("high", best))}  # fmt: skip
    assert answers == {"low": [200, 503, 503, 503, 503, 503], "normal": [200] * 3, "high": [200] * 2}
    served = [seen.target for seen in queue.origin.seen if seen.target != "/held"]
    assert served == ["/high/0", "/high/1", "/0", "/1", "/2", "/low/0"]


@pytest.mark.parametrize("workers", [1, 4])
def test_nobody_makes_way_for_the_same_class_or_a_lower_one(tmp_path: Path, stack: ExitStack, workers: int) -> None:
    queue = line(tmp_path, stack, workers=workers, queue="max: 4, timeout: 60s")
    for number in range(4):
        queue.join(f"/{number}")
    assert [ask_for_more(queue, target) for target in ("/late", "/low/late")] == [503, 503]
    assert queue.served() == ["/0", "/1", "/2", "/3"]


def ask_for_more(queue: Line, target: str) -> int:
    """The status that one gets who is not let in."""
    with Client(queue.running.port) as late:
        return late.get(target).status


# Connections are scarce -----------------------------------------------------------------------------------------------


def test_an_idle_connection_of_another_worker_makes_way_for_who_waits(tmp_path: Path, stack: ExitStack) -> None:
    origin = stack.enter_context(recording_origin())
    text = configured(origin.address, workers=4, cluster="max_connections: 1,", endpoint="")
    running = stack.enter_context(proxy(tmp_path, text))
    clients = [stack.enter_context(Client(running.port)) for _ in range(12)]
    begun = time.monotonic()
    assert [client.get("/in-turn").status for client in clients * 2] == [200] * 24
    assert time.monotonic() - begun < 24 * 0.05
    assert sum(worker["requests"] > 0 for worker in running.stats()["workers"]) > 1
    assert running.stats()["clusters"]["app"]["connections"] == 1
    assert origin.connections > 1


def test_of_a_hundred_at_once_no_more_than_four_have_a_connection_and_all_are_answered(tmp_path: Path) -> None:
    text = configured("ORIGIN", cluster="max_connections: 4,", endpoint="")
    with capacity_origin(2) as origin, proxy(tmp_path, text.replace("ORIGIN", origin.address)) as running:
        arrivals = Arrivals(running.port)
        asyncio.run(arrivals.at_once(3_000, 100))
        assert origin.report().most <= 4
        running.await_idle()
        stats = running.stats()["clusters"]["app"]
        assert stats["queue"]["waiting"] == 0
        assert stats["connections"] <= 4
    assert arrivals.statuses == {200: 3_000}
