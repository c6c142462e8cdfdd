"""`shardproxy reload`, `restart`, `scale` and `drain`, as an operator types them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxykit import PATIENCE_S, Proxy, eventually, free_port, origins, proxy

CONFIGURATION = """
workers: 2
drain_delay: 1s
listeners:
  - bind: 127.0.0.1:PORT
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - {name: app, endpoints: [ORIGIN]}
"""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with origins(0) as (address,):
        yield address


@pytest.fixture
def running(tmp_path: Path, origin: str) -> Iterator[Proxy]:
    with proxy(tmp_path, CONFIGURATION.replace("ORIGIN", origin)) as started:
        yield started


def command(port: int, *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    ran = subprocess.run(
        [sys.executable, "-m", "shardproxy", *words, "--admin", f"http://127.0.0.1:{port}"],
        capture_output=True, text=True, timeout=PATIENCE_S * 3, check=False,
    )  # fmt: skip
    return ran.returncode, ran.stdout, ran.stderr


def test_reload_returns_when_all_workers_serve_the_new_configuration(running: Proxy) -> None:
    assert command(running.admin_port, "reload") == (0, "configuration 2 is served by all 2 workers\n", "")
    stats = running.stats()
    assert stats["version"] == 2
    assert stats["last_operation"]["text"] == "reload: configuration 2 is served by all 2 workers"


def test_reload_of_a_wrong_file_says_why_and_ends_with_1(running: Proxy, tmp_path: Path) -> None:
    file = next(tmp_path.glob("*.yaml"))
    file.write_text(file.read_text().replace("prefix: /", "prefix: nowhere"))
    code, said, wrong = command(running.admin_port, "reload")
    assert (code, said) == (1, "")
    assert wrong.startswith(f"the running configuration stays: {file}:7: listeners[0].routes[0].match.prefix: ")
    assert running.stats()["last_operation"]["is_done"] is False


def test_restart_returns_when_the_new_generation_serves(running: Proxy) -> None:
    pid = running.process.pid
    code, said, wrong = command(running.admin_port, "restart")
    assert (code, said, wrong) == (0, "generation 2 serves; 2 former workers drain\n", "")
    assert running.process.pid == pid == running.stats()["supervisor"]["pid"]
    eventually(lambda: {each["generation"] for each in running.stats()["workers"]} == {2}, "the former ones to go")


def test_scale_returns_when_there_are_that_many(running: Proxy) -> None:
    assert command(running.admin_port, "scale", "4") == (0, "4 workers\n", "")
    assert len(running.worker_pids()) == 4
    assert command(running.admin_port, "scale", "1") == (0, "1 worker\n", "")
    eventually(lambda: len(running.worker_pids()) == 1, "the others to go")
    assert running.is_ready()


def test_drain_makes_it_unready_first_and_then_ends_it(running: Proxy) -> None:
    code, _, wrong = command(running.admin_port, "drain")
    assert (code, wrong) == (0, "")
    assert not running.is_ready()
    assert running.process.wait(PATIENCE_S) == 0


def test_a_proxy_that_is_not_there_is_a_sentence_and_1() -> None:
    code, said, wrong = command(free_port(), "reload")
    assert (code, said) == (1, "")
    assert wrong.startswith("no proxy answers at http://127.0.0.1:")
