"""The controller's life and its admin interface over a real socket and channel; only the process is a thread."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import pytest

from shardproxy.config.schema import Config
from shardproxy.control.messages import Drain, Drained, Ready, Stop
from shardproxy.controller.admin.ask import NoAnswer, ask, ask_stats
from shardproxy.controller.main import ORPHAN_S
from shardproxy.shm.rows import Kind, State
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from tests.unit.controller.supervising import PATIENCE_S, ROW, Running, get

NOBODY = 2**22 + 1  # above any pid that Linux gives


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
    one = "/clusters/{cluster}/endpoints"
    known = f"{one}, {one}/{{address}}, {one}/{{address}}/{{verb}}"
    known += ", /config, /drain, /live, /ready, /reload, /restart, /scale, /stats"
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
