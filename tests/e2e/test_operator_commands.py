"""`shardproxy reload`, `restart`, `scale` and `drain`, as an operator types them."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from shardproxy.controller.admin.ask import ask
from tests.proxykit import PATIENCE_S, ROOT, Proxy, eventually, free_port, origins, proxy

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


@contextmanager
def running_file(file: Path) -> Iterator[None]:
    """`shardproxy run FILE` until the end of the block."""
    with file.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "shardproxy", "run", str(file)], cwd=ROOT, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            code = process.wait(PATIENCE_S)
    assert code == 0


def command(admin: int | str, *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error; `admin` is a port, or what stands behind `--admin`."""
    url = f"http://127.0.0.1:{admin}" if isinstance(admin, int) else admin
    ran = subprocess.run(
        [sys.executable, "-m", "shardproxy", *words, "--admin", url],
        capture_output=True, text=True, timeout=PATIENCE_S * 3, check=False, cwd=ROOT,
    )  # fmt: skip
    return ran.returncode, ran.stdout, ran.stderr


def test_reload_returns_when_all_workers_serve_the_new_configuration(running: Proxy) -> None:
    assert command(running.admin_port, "reload") == (0, "configuration 2 is served by all 2 workers\n", "")
    stats = running.stats()
    assert stats["version"] == 2
    assert stats["last_operation"]["text"] == "reload: configuration 2 is served by all 2 workers"


def test_a_reload_that_is_asked_for_during_a_hot_restart_is_answered_when_the_new_code_has_done_it(
    running: Proxy,
) -> None:
    with ThreadPoolExecutor(2) as threads:
        restart = threads.submit(command, running.admin_port, "restart")
        eventually(lambda: "restart begins" in running.log, "the hot restart to begin")
        reload = threads.submit(ask, f"http://127.0.0.1:{running.admin_port}", "/reload", "POST", PATIENCE_S * 3)
        status, body = reload.result()
        assert restart.result()[0] == 0
    assert status == 200
    assert json.loads(body)["message"] in (
        "configuration 3 is served by all 2 workers",
        "configuration 2 is served by all 2 workers",  # the restart was over already
    )


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
    status, body = ask(f"http://127.0.0.1:{running.admin_port}", "/ready")
    assert (status, json.loads(body)["message"]) == (503, "the proxy is draining")
    assert running.process.wait(PATIENCE_S) == 0


def test_who_asks_while_a_restart_is_under_way_gets_a_sentence(tmp_path: Path, origin: str) -> None:
    """The restart ends the controller that holds the request, and the supervisor's code that has it in its queue."""
    configuration = CONFIGURATION.replace("ORIGIN", origin) + "drain_timeout: 1s\n"
    with proxy(tmp_path, configuration) as running, ThreadPoolExecutor(1) as threads:
        restart = threads.submit(command, running.admin_port, "restart")
        eventually(lambda: "restart begins" in running.log, "the restart to begin")
        code, said, wrong = command(running.admin_port, "reload")
        assert restart.result(PATIENCE_S)[0] == 0
    assert (code, bool(said), bool(wrong)) in ((0, True, False), (1, False, True))
    assert "no proxy answers" not in wrong


def test_a_page_from_elsewhere_cannot_end_it(running: Proxy) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", running.admin_port, timeout=PATIENCE_S)) as browser:
        browser.request("POST", "/drain", headers={"Origin": "https://evil.test"})
        answer = browser.getresponse()
        answer.read()
    assert answer.status == 403
    assert running.is_ready()


def test_an_answer_that_does_not_come_in_time_is_a_sentence_and_1(running: Proxy) -> None:
    code, said, wrong = command(running.admin_port, "restart", "--timeout", "0.1")
    assert (code, said) == (1, "")
    assert wrong == f"http://127.0.0.1:{running.admin_port} has not answered /restart within 0.1 s\n"
    eventually(lambda: "generation 2 serves" in running.log, "the restart, which goes on")


def test_a_unix_admin_socket_is_answered_before_and_after_a_restart(tmp_path: Path, origin: str) -> None:
    admin = f"unix:{tmp_path}/admin.sock"
    file = tmp_path / "unix.yaml"
    text = CONFIGURATION.replace("ORIGIN", origin).replace("PORT", str(free_port()))
    file.write_text(f"admin: {{bind: '{admin}'}}\n{text}")
    with running_file(file):
        eventually(lambda: command(admin, "status")[0] == 0, "the admin interface")
        assert command(admin, "restart") == (0, "generation 2 serves; 2 former workers drain\n", "")
        assert command(admin, "scale", "3") == (0, "3 workers\n", "")
        code, shown, _ = command(admin, "status")
        assert (code, "ago: scale: 3 workers" in shown) == (0, True)


def test_a_proxy_that_is_not_there_is_a_sentence_and_1() -> None:
    code, said, wrong = command(free_port(), "reload")
    assert (code, said) == (1, "")
    assert wrong.startswith("no proxy answers at http://127.0.0.1:")
