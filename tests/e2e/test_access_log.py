"""The access log of a real proxy: a line for every request, whatever became of it, and for who was no request."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.peers import Client, Origin, recording_origin, says
from tests.proxykit import ROOT, Proxy, eventually, exchange, free_port, proxy

CONFIGURATION = """
workers: WORKERS
listeners:
  - name: web
    bind: 127.0.0.1:PORT
    access_log: {path: LOG, format: FORMAT, flush: 50ms}
    routes:
      - {match: {path: /moved}, redirect: {path: /new}}
      - {match: {prefix: /limited}, cluster: app, rate_limits: [one]}
      - {match: {prefix: /down}, cluster: down, retry: {on: [connect-failure], attempts: 2}}
      - {match: {prefix: /mirrored}, cluster: app, mirror: {cluster: app}}
      - {match: {prefix: /app}, cluster: app, upgrade: [websocket]}
rate_limits:
  - {name: one, rate: 1/h, burst: 1}
clusters:
  - {name: app, endpoints: [ORIGIN]}
  - {name: down, endpoints: ["127.0.0.1:1"]}
"""


@pytest.fixture
def origin() -> Iterator[Origin]:
    with recording_origin() as recording:
        yield recording


@contextmanager
def logging_proxy(tmp_path: Path, origin: Origin, *, workers: int = 1, format: str = "json") -> Iterator[Proxy]:
    text = CONFIGURATION.replace("ORIGIN", origin.address).replace("LOG", str(tmp_path / "access.log"))
    with proxy(tmp_path, text.replace("WORKERS", str(workers)).replace("FORMAT", format)) as running:
        yield running


@pytest.fixture
def running(tmp_path: Path, origin: Origin) -> Iterator[Proxy]:
    with logging_proxy(tmp_path, origin) as started:
        yield started


def lines(path: Path, count: int) -> list[dict[str, Any]]:
    """Waits for so many, and sees that there are no more."""
    eventually(lambda: len(path.read_bytes().splitlines()) >= count, f"{count} lines in {path}")
    found = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert len(found) == count
    return found


def parts(line: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(line.get(name) for name in names)


def test_a_request_is_described(running: Proxy, origin: Origin, tmp_path: Path) -> None:
    with Client(running.port) as client:
        fields = "Content-Length: 5", "User-Agent: a/1", "Referer: http://b/"
        client.ask("POST /app?q=1 HTTP/1.1", *fields, body=b"hello")
    (line,) = lines(tmp_path / "access.log", 1)
    seen = origin.only("/app?q=1")
    assert parts(line, "listener", "client", "method", "target") == ("web", "127.0.0.1", "POST", "/app?q=1")
    assert parts(line, "status", "bytes_in", "cluster", "endpoint") == (200, 5, "app", origin.address)
    assert parts(line, "user_agent", "referer", "reason") == ("a/1", "http://b/", None)
    assert [line["request_id"]] == seen.values("x-request-id")
    assert 0 < line["upstream_ms"] <= line["duration_ms"] < 20_000


def test_the_body_of_the_response_is_counted(running: Proxy, origin: Origin, tmp_path: Path) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n3\r\ntri\r\n0\r\n\r\n"
    origin.plays["/app/chunked"] = says(chunked)
    with Client(running.port) as client:
        client.get("/app/chunked")
    assert lines(tmp_path / "access.log", 1)[0]["bytes_out"] == len(b"fourtri")


def test_whatever_becomes_of_a_request_there_is_one_line(running: Proxy, origin: Origin, tmp_path: Path) -> None:
    origin.plays["/app/broken"] = says(b"nonsense\r\n\r\n", then="close")
    with Client(running.port) as client:
        for path in ("/moved", "/nowhere", "/limited", "/limited", "/down", "/app/broken", "/mirrored"):
            client.get(path)
    found = lines(tmp_path / "access.log", 7)
    assert [parts(line, "target", "status", "reason", "retries") for line in found] == [
        ("/moved", 301, None, None),
        ("/nowhere", 404, "no_route", None),
        ("/limited", 200, None, None),
        ("/limited", 429, "rate_limited", None),
        ("/down", 502, "connect_failed", 2),
        ("/app/broken", 502, "bad_response", None),
        ("/mirrored", 200, None, None),
    ]


def test_who_sends_no_request_has_a_line_too(running: Proxy, tmp_path: Path) -> None:
    with Client(running.port) as client:
        client.socket.sendall(b"GET / HTTP/9.9\r\n\r\n")
        status = client.read().status
    (line,) = lines(tmp_path / "access.log", 1)
    assert parts(line, "client", "status", "method", "target") == ("127.0.0.1", status, None, None)
    assert line["reason"]


def test_a_client_that_leaves_has_a_line_without_a_status(running: Proxy, origin: Origin, tmp_path: Path) -> None:
    client = Client(running.port)
    origin.plays["/app/slow"] = says(b"", then="keep")
    client.send("GET /app/slow HTTP/1.1")
    eventually(lambda: origin.of("/app/slow"), "the request at the origin")
    client.vanish()
    (line,) = lines(tmp_path / "access.log", 1)
    assert parts(line, "target", "status", "reason") == ("/app/slow", 0, "client_gone")


def test_hostile_text_stays_inside_its_line(running: Proxy, tmp_path: Path) -> None:
    with Client(running.port) as client:
        client.ask('GET /app/"\\{} HTTP/1.1', 'User-Agent: "},{"status":200,\t\xe4')
    (line,) = lines(tmp_path / "access.log", 1)
    assert line["target"] == '/app/"\\{}'
    assert line["user_agent"] == '"},{"status":200,\t\xe4'


def test_all_workers_write_to_the_same_file(tmp_path: Path, origin: Origin) -> None:
    with logging_proxy(tmp_path, origin, workers=3) as running:
        for number in range(60):
            with Client(running.port) as client:
                client.get(f"/app/{number}")
        found = lines(tmp_path / "access.log", 60)
        assert sorted(line["target"] for line in found) == sorted(f"/app/{number}" for number in range(60))
        assert running.stats()["access_log_dropped"] == 0


def test_the_combined_format(tmp_path: Path, origin: Origin) -> None:
    with logging_proxy(tmp_path, origin, format="combined") as running, Client(running.port) as client:
        client.get("/app", "User-Agent: a/1")
        path = tmp_path / "access.log"
        text = eventually(path.read_text, "a line")
        assert text.startswith("127.0.0.1 - - [")
        assert text.endswith('] "GET /app HTTP/1.1" 200 2 "-" "a/1"\n')


def test_sigusr1_opens_the_log_anew(tmp_path: Path, origin: Origin) -> None:
    path, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    with logging_proxy(tmp_path, origin, workers=2) as running, Client(running.port) as client:
        client.get("/app/before")
        lines(path, 1)
        path.rename(moved)
        running.process.send_signal(signal.SIGUSR1)
        eventually(path.exists, "the new file")
        client.get("/app/after")
        eventually(lambda: len(both(path, moved)) == 2, "both lines")
        assert [line["target"] for line in lines(moved, 1)] == ["/app/before"]
        assert running.log.count("the access logs are opened anew") == 1


def both(*paths: Path) -> list[bytes]:
    return [line for path in paths for line in path.read_bytes().splitlines()]


def test_what_waits_is_written_when_the_proxy_stops(tmp_path: Path, origin: Origin) -> None:
    text = CONFIGURATION.replace("ORIGIN", origin.address).replace("LOG", str(tmp_path / "access.log"))
    text = text.replace("WORKERS", "2").replace("FORMAT", "json").replace("50ms", "1h")
    with proxy(tmp_path, text) as running, Client(running.port) as client:
        assert client.get("/app").body == b"ok"
        assert (tmp_path / "access.log").read_bytes() == b""
    assert len(lines(tmp_path / "access.log", 1)) == 1


def test_a_reload_may_begin_move_and_end_a_log(tmp_path: Path, origin: Origin) -> None:
    with logging_proxy(tmp_path, origin) as running, Client(running.port) as client:
        file = next(tmp_path.glob("proxy-*.yaml"))
        client.get("/app/first")
        reload(running, file, file.read_text().replace("access.log", "other.log"))
        client.get("/app/second")
        assert lines(tmp_path / "other.log", 1)[0]["target"] == "/app/second"
        reload(running, file, file.read_text().replace("access_log:", "# access_log:"))
        client.get("/app/third")
        assert lines(tmp_path / "access.log", 1)[0]["target"] == "/app/first"
        assert len(lines(tmp_path / "other.log", 1)) == 1


def reload(running: Proxy, file: Path, text: str) -> None:
    done = running.log.count("is served by all")
    file.write_text(text)
    running.process.send_signal(signal.SIGHUP)
    eventually(lambda: running.log.count("is served by all") > done, "the reload")


def test_a_log_that_cannot_be_written_is_refused_and_the_old_one_kept(tmp_path: Path, origin: Origin) -> None:
    with logging_proxy(tmp_path, origin) as running, Client(running.port) as client:
        file = next(tmp_path.glob("proxy-*.yaml"))
        os.mkfifo(tmp_path / "pipe.log")
        file.write_text(file.read_text().replace("access.log", "pipe.log"))
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: "pipe.log" in running.log, "the reason in the log")
        client.get("/app")
        assert lines(tmp_path / "access.log", 1)[0]["status"] == 200


def test_a_directory_that_is_not_there_is_told_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    text = CONFIGURATION.replace("LOG", str(tmp_path / "no" / "access.log")).replace("ORIGIN", "127.0.0.1:1")
    file.write_text(text.replace("WORKERS", "1").replace("FORMAT", "json").replace("PORT", str(free_port())))
    run = [sys.executable, "-m", "shardproxy", "run", str(file)]
    ended = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 1
    assert f"cannot start: listeners[0].access_log: there is no directory {tmp_path / 'no'}" in ended.stderr




@contextmanager
def logging_to(directory: Path, tmp_path: Path, origin: Origin) -> Iterator[Proxy]:
    """Two workers whose access log is in `directory`."""
    text = CONFIGURATION.replace("ORIGIN", origin.address).replace("LOG", str(directory / "access.log"))
    with proxy(tmp_path, text.replace("WORKERS", "2").replace("FORMAT", "json")) as running:
        yield running


def test_workers_that_cannot_open_their_log_serve_and_write_as_soon_as_they_can(tmp_path: Path, origin: Origin) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    with logging_to(directory, tmp_path, origin) as running:
        (directory / "access.log").unlink()
        directory.rmdir()
        former = running.worker_pids()
        for pid in former:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: running.log.count("access.log cannot be opened: No such file") == 2, "the reason in the log")
        eventually(lambda: running.is_ready() and not set(former) & set(running.worker_pids()), "other workers")
        with Client(running.port) as client:
            assert client.get("/app/kept").status == 200
        reload(running, next(tmp_path.glob("proxy-*.yaml")), next(tmp_path.glob("proxy-*.yaml")).read_text() + "\n")
        running.process.send_signal(signal.SIGUSR1)
        with Client(running.port) as client:
            assert client.get("/app/after").status == 200
        directory.mkdir()
        eventually((directory / "access.log").exists, "the file")
        assert {line["target"] for line in lines(directory / "access.log", 2)} == {"/app/kept", "/app/after"}


def test_lines_that_find_no_room_are_counted(tmp_path: Path, origin: Origin) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    (directory / "access.log").symlink_to("/dev/full")
    with logging_to(directory, tmp_path, origin) as running:
        path = "/moved?" + "x" * 1900
        for _ in range(2):
            exchange(running.port, f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 100 + b"GET /")
        eventually(lambda: running.stats()["access_log_dropped"] > 0, "lines that are left out")
        assert "access.log cannot be written: No space left on device" in running.log


def test_a_pipe_without_a_reader_loses_no_worker(tmp_path: Path, origin: Origin) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    os.mkfifo(directory / "access.log")
    with logging_to(directory, tmp_path, origin) as running:
        eventually(lambda: "access.log cannot be opened: No such device" in running.log, "the reason in the log")
        with Client(running.port) as client:
            assert client.get("/app").status == 200
        reader = os.open(directory / "access.log", os.O_RDONLY)
        try:
            assert json.loads(os.read(reader, 10_000))["target"] == "/app"
        finally:
            os.close(reader)
