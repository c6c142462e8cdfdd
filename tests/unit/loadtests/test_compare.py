"""The whole comparison as a command: its table, its JSON, and that nothing is left when it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from loadtests import compare, proxies

ROOT = Path(compare.__file__).resolve().parent.parent
NEEDED = ("wrk", "nginx")
pytestmark = pytest.mark.skipif(
    not all(proxies.on_path(name)() for name in NEEDED), reason="needs wrk and nginx: apt-get install wrk nginx"
)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "loadtests.compare", *arguments]


def test_a_quick_run_gives_a_table_and_json(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    arguments = ("--quick", "--work", "get-1k", "--proxy", "nginx", "--proxy", "direct", "--json", str(path))
    done = subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "1.00 (1.00..1.00)" in done.stdout
    direct, nginx = json.loads(path.read_text())["summary"]
    assert (direct["proxy"], direct["cpu_us"]) == ("direct", None)
    assert nginx["is_clean"] and 1 < nginx["cpu_us"]["median"] < 1000


def test_it_also_runs_as_a_plain_script_from_anywhere(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "loadtests" / "compare.py"), "--list"]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "routes-1000" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupted_run_ends_all_it_started_and_shows_what_it_has(number: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    arguments = ("--seconds", "1", "--rounds", "1000", "--work", "get-1k", "--proxy", "nginx", "--json", str(path))
    with subprocess.Popen(
        command(*arguments), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert "nginx" in first and len(started) >= 4  # two nginx of two processes each
    assert process.returncode == compare.INTERRUPTED
    assert "interrupted" in out and "Traceback" not in out + err
    assert len(json.loads(path.read_text())["samples"]) >= 1
    assert psutil.wait_procs(started, timeout=5)[1] == []


def test_a_missing_peer_is_skipped_with_a_line_that_says_how_to_get_it() -> None:
    missing = proxies.Proxy("other", lambda: None, "apt-get install other", {"c": lambda site: ""}, (), (), ())
    notes: list[str] = []
    assert compare.available((proxies.NGINX, missing), notes) == (proxies.NGINX,)
    assert notes == ["skipped: other is not installed: apt-get install other"]
