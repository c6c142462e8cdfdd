"""The controller's life and its admin interface over a real socket and channel; only the process is a thread."""

from __future__ import annotations

import json
import os
import select
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shardproxy.config.schema import Config, worker_count
from shardproxy.control.channel import Channel
from shardproxy.control.messages import (
    Abort,
    Answer,
    Applied,
    Ask,
    Commit,
    Drain,
    Drained,
    Message,
    Prepare,
    Prepared,
    Ready,
    Refused,
    Stop,
)
from shardproxy.control.plan import Plan
from shardproxy.control.seat import ADMIN, Seat
from shardproxy.controller.admin.ask import NoAnswer, Outcome, ask, ask_stats, change
from shardproxy.controller.main import ORPHAN_S, serve
from shardproxy.shm.rows import Kind, Rows, State
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from tests.proxykit import eventually

PATIENCE_S = 10.0
ROW = 1
NOBODY = 2**22 + 1  # above any pid that Linux gives


class Running:
    """A controller that serves, and the supervisor's end of its channel."""

    def __init__(self, segment: Segment, slots: Slots, config: Config, listening: socket.socket) -> None:
        self.supervisor, channel = Channel.pair()
        segment.workers_wanted = worker_count(config)
        self.rows = Rows(segment)
        self.rows.claim(ROW, os.getpid(), 1, Kind.CONTROLLER)
        self.listening = listening
        self.url = _url(listening)
        self._threads = ThreadPoolExecutor(1)
        seat = Seat(
            kind="controller", index=0, row=ROW, generation=1, config=config, segment=segment, slots=slots,
            listeners={ADMIN: listening}, channel=channel,
        )  # fmt: skip
        self._channel = channel
        self.exit_code: Future[int] = self._threads.submit(serve, seat)

    def hear(self) -> Message | None:
        """The next thing it says."""
        assert select.select([self.supervisor], [], [], PATIENCE_S)[0], "the controller says nothing"
        return self.supervisor.receive()

    def close(self) -> None:
        self.supervisor.close()
        self._threads.shutdown()
        self._channel.close()
        self.listening.close()


def _url(listening: socket.socket) -> str:
    name = listening.getsockname()
    return f"unix:{name}" if listening.family == socket.AF_UNIX else f"http://127.0.0.1:{name[1]}"


@pytest.fixture
def running(segment: Segment, slots: Slots, config: Config) -> Iterator[Running]:
    controller = Running(segment, slots, config, socket.create_server(("127.0.0.1", 0)))
    assert controller.hear() == Ready()
    yield controller
    controller.close()


def get(running: Running, path: str) -> tuple[int, Any]:
    status, body = ask(running.url, path)
    return status, json.loads(body)


def test_it_serves_and_says_so(running: Running) -> None:
    assert running.rows.state(ROW) is State.READY
    assert get(running, "/live") == (200, {"live": True})


def test_it_beats_at_least_every_200_ms(running: Running) -> None:
    beats = {running.rows.heartbeat(ROW)}
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        beats.add(running.rows.heartbeat(ROW))
        time.sleep(0.01)
    moments = sorted(beats)
    assert max(later - earlier for earlier, later in zip(moments, moments[1:], strict=False)) < 200e6


def test_it_is_ready_once_every_worker_is(running: Running) -> None:
    assert get(running, "/ready") == (503, {"ready": False, "message": "0 of 2 workers are ready"})
    for row in (2, 3):
        running.rows.claim(row, 1000 + row, 1, Kind.WORKER)
        running.rows.set_state(row, State.READY)
    assert get(running, "/ready") == (200, {"ready": True})


def test_the_running_configuration_is_told_as_it_could_be_written(running: Running) -> None:
    status, config = get(running, "/config")
    assert status == 200
    assert config["clusters"][0]["endpoints"][1]["address"] == "127.0.0.1:9002"
    assert config["rate_limits"][0]["rate"] == "5/s"


def test_the_numbers_are_those_of_the_shared_memory(running: Running) -> None:
    stats = ask_stats(running.url)
    assert stats.controller is not None
    assert stats.controller.pid == os.getpid()
    assert stats.rate_limits["few"].tokens == 7


def test_an_unknown_path_is_answered_with_the_known_ones(running: Running) -> None:
    status, answer = get(running, "/nonsense?x=1")
    assert (status, answer["status"], answer["reason"]) == (404, 404, "not_found")
    known = "/config, /drain, /live, /ready, /reload, /restart, /scale, /stats"
    assert answer["message"] == f"there is no /nonsense here, only {known}"


def test_other_methods_are_refused_with_those_allowed(running: Running) -> None:
    port = running.listening.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(b"DELETE /stats HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET, HEAD\r\n" in head
    assert json.loads(body)["reason"] == "method_not_allowed"


def test_an_error_of_ours_is_told_without_a_traceback(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault of the controller itself")

    monkeypatch.setattr("shardproxy.controller.view.read", broken)
    status, answer = get(running, "/stats")
    assert (status, answer["reason"]) == (500, "internal_server_error")
    assert "fault of the controller" not in answer["message"]
    assert "GET /stats failed" in caplog.text


def test_told_to_drain_it_says_when_it_is_done_and_lets_go_of_the_port(running: Running) -> None:
    running.supervisor.send(Drain(deadline_ns=time.monotonic_ns() + 10**9))
    assert running.hear() == Drained(cut=0)
    assert running.exit_code.result(PATIENCE_S) == 0
    assert running.rows.state(ROW) is State.DRAINING
    with pytest.raises(NoAnswer):
        ask(running.url, "/live")


def test_told_to_stop_it_leaves_without_a_word(running: Running) -> None:
    running.supervisor.send(Stop())
    assert running.exit_code.result(PATIENCE_S) == 0


def test_an_open_connection_does_not_keep_it(running: Running) -> None:
    port = running.listening.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as idle:
        idle.sendall(b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n")
        assert idle.recv(12) == b"HTTP/1.1 200"
        running.supervisor.send(Stop())
        assert running.exit_code.result(2.0) == 0


def test_without_a_supervisor_it_waits_for_workers_that_still_live_but_not_for_long(running: Running) -> None:
    running.rows.claim(2, os.getpid(), 1, Kind.WORKER)
    begin = time.monotonic()
    running.supervisor.close()
    assert running.exit_code.result(PATIENCE_S) == 0
    assert ORPHAN_S <= time.monotonic() - begin < ORPHAN_S + 2


def test_without_a_supervisor_it_leaves_at_once_when_the_workers_are_gone(running: Running) -> None:
    running.rows.claim(2, NOBODY, 1, Kind.WORKER)
    begin = time.monotonic()
    running.supervisor.close()
    assert running.exit_code.result(PATIENCE_S) == 0
    assert time.monotonic() - begin < ORPHAN_S


def test_it_can_be_asked_over_a_unix_socket(segment: Segment, slots: Slots, config: Config, tmp_path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "admin.sock"))
    listening.listen()
    controller = Running(segment, slots, config, listening)
    assert controller.hear() == Ready()
    assert get(controller, "/live") == (200, {"live": True})
    controller.close()


# What operators ask for -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "wish"),
    [
        ("/reload", Ask(1, "reload")),
        ("/restart", Ask(1, "restart")),
        ("/drain", Ask(1, "drain")),
        ("/scale?workers=3", Ask(1, "scale", 3)),
    ],
)
def test_a_wish_goes_to_the_supervisor_and_its_answer_comes_back(path: str, wish: Ask, running: Running) -> None:
    for is_done in (True, False):
        with ThreadPoolExecutor(1) as threads:
            outcome = threads.submit(change, running.url, path, PATIENCE_S)
            heard = running.hear()
            assert isinstance(heard, Ask)
            assert (heard.what, heard.workers) == (wish.what, wish.workers)
            running.supervisor.send(Answer(heard.id, is_done, "so it went"))
            assert outcome.result(PATIENCE_S) == Outcome(is_done, "so it went")


@pytest.mark.parametrize("workers", ["", "x", "-1", "99999", "%C2%B2"])
def test_a_number_of_workers_that_is_none_is_refused(workers: str, running: Running) -> None:
    status, body = ask(running.url, f"/scale?workers={workers}", "POST")
    assert (status, json.loads(body)["message"]) == (400, "say how many: /scale?workers=4")


def test_what_changes_something_cannot_be_asked_for_with_get(running: Running) -> None:
    assert ask(running.url, "/reload")[0] == 405


@pytest.mark.parametrize(("origin", "status"), [("http://evil.test", 403), ("null", 403)])
def test_a_page_from_elsewhere_changes_nothing(origin: str, status: int, running: Running) -> None:
    request = urllib.request.Request(f"{running.url}/drain", method="POST", headers={"Origin": origin})
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=PATIENCE_S)
    assert refusal.value.code == status
    refusal.value.close()
    assert not select.select([running.supervisor], [], [], 0)[0]


def test_the_last_outcome_is_in_the_stats(running: Running) -> None:
    assert ask_stats(running.url).last_operation is None
    running.supervisor.send(Answer(0, False, "reload: it is wrong"))
    eventually(lambda: ask_stats(running.url).last_operation is not None, "the news")
    last = ask_stats(running.url).last_operation
    assert last is not None
    assert (last.is_done, last.text) == (False, "reload: it is wrong")


# Another configuration ------------------------------------------------------------------------------------------------


def prepare(running: Running, version: int, config: Config, slots: Slots) -> Message | None:
    fd = Plan(version, config, slots).write()
    running.supervisor.send(Prepare(version), [fd])
    os.close(fd)
    return running.hear()


def test_a_configuration_is_shown_once_it_is_committed(running: Running, config: Config, slots: Slots) -> None:
    other = msgspec.structs.replace(config, drain_timeout=7 * 10**9)
    assert prepare(running, 2, other, slots) == Prepared(2)
    assert get(running, "/config")[1]["drain_timeout"] != "7s"
    running.supervisor.send(Commit(2))
    assert running.hear() == Applied(2)
    assert get(running, "/config")[1]["drain_timeout"] == "7s"
    assert ask_stats(running.url).version == 2


def test_a_configuration_that_is_aborted_is_forgotten(running: Running, config: Config, slots: Slots) -> None:
    assert prepare(running, 2, config, slots) == Prepared(2)
    running.supervisor.send(Abort(2))
    running.supervisor.send(Commit(2))
    assert ask_stats(running.url).version == 1


def test_a_plan_that_cannot_be_read_is_refused(running: Running) -> None:
    fd = os.memfd_create("no-plan")
    running.supervisor.send(Prepare(2), [fd])
    os.close(fd)
    refused = running.hear()
    assert isinstance(refused, Refused)
    assert "cannot be taken over" in refused.reason
