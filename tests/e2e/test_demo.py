"""`shardproxy demo` as a user starts it: what it shows, and that it leaves nothing behind however it ends."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from shardproxy.controller.admin.ask import ask_stats
from tests.e2e.supervised import ROOT, eventually, free_ports, wait_for_exit

PATIENCE_S = 20.0
LINE = r" s +(\d+) requests/s +active fast-1 \d+ +fast-2 \d+ +slow \d+ +p50 [\d.]+ ms +p99 [\d.]+ ms"


class Demo:
    """A running demo and what it has said so far."""

    def __init__(self, *options: str) -> None:
        self.port, self.admin_port = free_ports(2)
        ports = ["--port", str(self.port), "--admin-port", str(self.admin_port)]
        self.lines: list[str] = []
        self._ended = False
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "shardproxy", "demo", *ports, *options],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def family(self) -> list[psutil.Process]:
        """The proxy's processes; empty before it has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line that matches; waits for it."""
        with self._news:
            self._news.wait_for(lambda: self._ended or self._found(pattern), PATIENCE_S)
            found = self._found(pattern)
        assert found, f"{pattern!r} not in (exit code {self.process.poll()}):\n" + "\n".join(self.lines)
        return found

    def end(self) -> tuple[int, str]:
        """Wait for its end: exit code, and what it said on standard error."""
        assert self.process.stderr is not None
        errors = self.process.stderr.read()
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert not self._reader.is_alive(), "somebody still holds the output open: a process was left behind"
        return code, errors

    def close(self) -> None:
        """End it as Ctrl-C does; whoever is left after that is killed."""
        family = self.family() if self.process.poll() is None else []
        self.process.send_signal(signal.SIGINT)
        psutil.wait_procs(family, timeout=PATIENCE_S)
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        if errors := self.end()[1]:
            print(errors)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def _found(self, pattern: str) -> re.Match[str] | None:
        return next((match for line in self.lines if (match := re.search(pattern, line))), None)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


@contextmanager
def demo(*options: str) -> Iterator[Demo]:
    running = Demo(*options)
    try:
        yield running
    finally:
        running.close()


def fetch(port: int, method: str, path: str, **arguments: Any) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, **arguments)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_it_shows_what_to_try_a_line_a_second_and_a_summary() -> None:
    with demo("--seconds", "4") as running:
        running.wait_for("requests/s")
        family = running.family()
        code, errors = running.end()
        text = "\n".join(running.lines)
    assert (code, errors) == (0, "")
    assert f"curl -i http://127.0.0.1:{running.port}/limited" in text
    lines = re.findall(LINE, text)
    assert len(lines) == 3
    assert all(int(rate) > 20 for rate in lines)
    assert len(family) == 4  # supervisor, controller, two workers
    assert not any(each.is_running() for each in family)


def test_nothing_fails_and_the_slow_origin_gets_the_smallest_share() -> None:
    with demo("--seconds", "4", "--workers", "1") as running:
        code, _ = running.end()
        summary = running.wait_for(r"in [\d.]+ s: (\d+) requests, (\d+) errors, (\d+) refused by the rate limit")
        fast_1, fast_2, slow = (
            int(running.wait_for(rf"  {name} +[\d.]+% +(\d+) requests")[1]) for name in ("fast-1", "fast-2", "slow")
        )
    requests, failed, refused = map(int, summary.groups())
    assert (code, failed) == (0, 0)
    assert fast_1 + fast_2 + slow == requests - refused
    assert slow < 0.6 * min(fast_1, fast_2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT], ids=lambda number: number.name)
def test_a_signal_ends_it_with_a_summary_and_leaves_nothing(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with demo() as running:
        running.wait_for("requests/s")
        family = running.family()
        running.process.send_signal(number)
        code, errors = running.end()
        running.wait_for(r"in [\d.]+ s: \d+ requests, 0 errors")
    assert (code, errors) == (0, "")
    assert list(temporary.iterdir()) == []
    assert all(wait_for_exit(each.pid, 0) for each in family)


def test_a_signal_while_it_starts_leaves_nobody_either() -> None:
    with demo() as running:
        eventually(True, lambda: bool(running.family()))
        family = running.family()
        running.process.send_signal(signal.SIGTERM)
        code, errors = running.end()
    assert (code, errors) == (0, "")
    assert all(wait_for_exit(each.pid, 0) for each in family)


def test_without_traffic_of_its_own_it_answers_ours() -> None:
    with demo("--no-traffic") as running:
        running.wait_for("Ctrl-C ends it")
        assert ask_stats(running.url).requests == 0
        status, answer = fetch(running.port, "GET", "/some/path?x=1")
        assert (status, answer["path"], answer["method"]) == (200, "/some/path?x=1", "GET")
        assert answer["origin"] in ("fast-1", "fast-2", "slow")
        assert fetch(running.port, "POST", "/orders", body=b"x" * 100_000)[1]["body_bytes"] == 100_000
        chunks = {"body": iter([b"one", b"three"]), "encode_chunked": True, "headers": {"Transfer-Encoding": "chunked"}}
        assert fetch(running.port, "PUT", "/upload", **chunks)[1]["body_bytes"] == 8
        statuses = [fetch(running.port, "GET", "/limited")[0] for _ in range(8)]
        assert statuses[:5] == [200] * 5
        assert 429 in statuses[5:]


@pytest.mark.parametrize("taken", ["--port", "--admin-port"])
def test_a_port_that_is_taken_is_said_in_one_sentence(taken: str) -> None:
    with demo("--no-traffic") as first:
        first.wait_for("Ctrl-C ends it")
        port = first.port if taken == "--port" else first.admin_port
        with demo(taken, str(port)) as second:
            code, errors = second.end()
    assert (code, second.lines) == (1, [])
    assert errors == f"port {port} cannot be used (address already in use); choose another with {taken}\n"


def test_a_proxy_that_dies_ends_it_with_a_sentence() -> None:
    with demo() as running:
        running.wait_for("requests/s")
        family = running.family()
        family[0].kill()
        code, errors = running.end()
    assert code == 1
    assert errors.splitlines()[-1] == "the proxy ended with exit code -9; what it said stands above"
    assert "Traceback" not in errors
    assert all(wait_for_exit(each.pid) for each in family)


def test_when_nobody_reads_it_any_more_it_ends() -> None:
    ports = free_ports(2)
    options = ["--port", str(ports[0]), "--admin-port", str(ports[1])]
    running = subprocess.Popen(
        [sys.executable, "-m", "shardproxy", "demo", *options],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert running.stdout is not None
    assert running.stderr is not None
    with running.stdout, running.stderr:
        assert "listens on" in running.stdout.readline()
        family = psutil.Process(running.pid).children(recursive=True)
        running.stdout.close()
        errors = running.stderr.read()
        running.wait(PATIENCE_S)
    assert "Traceback" not in errors
    assert all(wait_for_exit(each.pid, 0) for each in family)
