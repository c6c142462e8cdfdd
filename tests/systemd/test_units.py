"""The unit files by themselves: systemd takes every line, the sandbox is tight, and the installer puts them right."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from shardproxy.config.schema import Config
from tests.proxykit import ROOT

SYSTEMD = ROOT / "systemd"
# systemd's own measure, 0 to 10; 252 says 1.7, newer ones less.
MOST_EXPOSED = 2.0

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def version() -> int:
    said = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, timeout=10).stdout
    return int(re.findall(r"systemd (\d+)", said)[0])


def install(destination: Path, prefix: str = "/usr") -> subprocess.CompletedProcess[str]:
    command = [str(SYSTEMD / "install.sh"), prefix]
    environment = {"PATH": "/usr/bin:/bin", "DESTDIR": str(destination)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The folder with the installed units; what they start is there."""
    program = tmp_path / "opt" / "bin" / "shardproxy"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert install(tmp_path, str(tmp_path / "opt")).returncode == 0
    return tmp_path / "etc" / "systemd" / "system"


def analyze(units: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], cwd=units, capture_output=True, text=True, timeout=60)


def verify(units: Path) -> subprocess.CompletedProcess[str]:
    # Without this option a misspelt key is a warning, and the exit code 0.
    return analyze(units, "verify", "--man=no", "--recursive-errors=no", "./shardproxy.service", "./shardproxy.socket")


def add(units: Path, dropin: str) -> None:
    (units / "shardproxy.service.d").mkdir()
    shutil.copy(SYSTEMD / "dropins" / dropin, units / "shardproxy.service.d")


@needs_analyze
def test_systemd_understands_every_line(units: Path) -> None:
    ran = verify(units)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@needs_analyze
def test_a_line_that_systemd_does_not_understand_would_be_found(units: Path) -> None:
    with (units / "shardproxy.service").open("a") as file:
        file.write("[Service]\nWatchdogSeconds=1\n")
    assert verify(units).returncode != 0


@needs_analyze
@pytest.mark.parametrize(("dropin", "since"), [("253-notify-reload.conf", 253), ("254-keep-over-stop.conf", 254)])
def test_a_dropin_is_understood_by_the_systemd_it_is_for_and_by_no_older(dropin: str, since: int, units: Path) -> None:
    add(units, dropin)
    assert (verify(units).returncode == 0) is (version() >= since)


@needs_analyze
def test_the_sandbox_is_tight(units: Path) -> None:
    threshold = f"--threshold={MOST_EXPOSED * 10:.0f}"
    ran = analyze(units, "security", "--no-pager", "--offline=true", threshold, "./shardproxy.service")
    assert ran.returncode == 0, ran.stdout
    assert float(re.findall(r"Overall exposure level .*: ([0-9.]+)", ran.stdout)[0]) <= MOST_EXPOSED


def seconds(key: str) -> int:
    return int(re.findall(rf"^{key}=(\d+)s?$", (SYSTEMD / "shardproxy.service").read_text(), re.M)[0])


def test_a_stop_has_time_for_a_drain() -> None:
    assert seconds("TimeoutStopSec") * 10**9 > Config(listeners=(), clusters=()).drain_timeout


def test_the_prefix_is_everywhere(units: Path) -> None:
    text = (units / "shardproxy.service").read_text()
    assert "@" not in text.replace("@system-service", "").replace("@privileged", "").replace("@resources", "")
    assert f"ExecStart={units.parents[2]}/opt/bin/shardproxy run /etc/shardproxy/shardproxy.yaml\n" in text


def test_a_package_gets_its_files_below_usr_lib_and_nothing_else_is_touched(tmp_path: Path) -> None:
    assert install(tmp_path).returncode == 0
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == {
        "usr/lib/systemd/system/shardproxy.service",
        "usr/lib/systemd/system/shardproxy.socket",
        "usr/lib/sysusers.d/shardproxy.conf",
        "usr/lib/tmpfiles.d/shardproxy.conf",
        "usr/share/shardproxy/dropins/253-notify-reload.conf",
        "usr/share/shardproxy/dropins/254-keep-over-stop.conf",
    }


@pytest.mark.parametrize(
    ("prefix", "reason"),
    [("opt", "absolute"), ("/opt/a b", "literally"), ("/opt/%i", "literally"), ("/home/me/.venv", "home directory")],
)
def test_a_prefix_that_could_not_work_is_refused(prefix: str, reason: str, tmp_path: Path) -> None:
    ran = install(tmp_path, prefix)
    assert ran.returncode == 2
    assert reason in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_installing_twice_changes_nothing(tmp_path: Path) -> None:
    first = install(tmp_path)
    assert install(tmp_path).stdout == first.stdout
    assert not list(tmp_path.rglob("*.new"))
