"""A real systemd as PID 1 of its own namespaces, for tests: booted in half a second, nothing installed, nothing left.

    unshare (mounts, processes, network, cgroups) ──> become_pid_1.sh ──> systemd
    nsenter ──> systemctl, load, whatever a test runs in there

Needs root, cgroup2 and overlayfs; `why_not` says what is missing.  It ends with the test that started it, even if
that is killed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from tests.proxykit import ROOT, eventually

_TOOLS = ("unshare", "nsenter", "setpriv", "pivot_root", "systemctl", "systemd-sysusers", "ldconfig", "bash")
_INTO = ("-m", "-p", "-u", "-i", "-n", "-C", "-r", "-w")
_ENVIRONMENT = ("env", "-i", "-C", "/opt/checkout", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8")
BOOT_S = 20.0
PYTHON = "/opt/shardproxy/bin/python"


class NotBooted(Exception):
    """systemd did not come up; `str()` is the last that it, or the script before it, has said."""


def why_not() -> str | None:
    """Why systemd cannot be booted here; None if it can be tried."""
    if os.geteuid() != 0:
        return "booting systemd takes root"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"there is no {missing[0]}"
    if not Path("/lib/systemd/systemd").exists():
        return "systemd is not installed"
    return None if _cgroup2() else "no cgroup2 is mounted"


def _cgroup2() -> Path | None:
    """Our own place in the tree of cgroup2."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    where = next((words[1] for words in mounts if words[2] == "cgroup2"), None)
    ours = [line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")]
    return Path(where + ours[0].removeprefix("0::")) if where and ours else None


class Machine:
    """A booted systemd; `run` runs something in it and returns what that has printed."""

    def __init__(self, stage: Path) -> None:
        stage.mkdir()
        self._log = stage.with_suffix(".log")
        self._cgroup = (_cgroup2() or Path()) / f"shardproxy-test.{os.getpid()}"
        self._cgroup.mkdir()
        enter_cgroup = 'echo 0 > "$1/cgroup.procs"; shift; exec unshare --cgroup bash "$@"'
        script = Path(__file__).with_name("become_pid_1.sh")
        site = sysconfig.get_path("purelib")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--uts", "--ipc", "--net"]
                + ["--kill-child=KILL", "--", "bash", "-c", enter_cgroup, "enter", str(self._cgroup)]
                + [str(script), str(stage), str(ROOT), sys.base_prefix, site],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._init = 0

    def boot(self) -> None:
        """Until everything that starts by itself has started.  Raises `NotBooted`."""
        deadline = time.monotonic() + BOOT_S
        while not (init := self._find_init()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise NotBooted(self._log.read_text().strip() or "it said nothing")
            time.sleep(0.02)
        self._init = init
        state = self.run("systemctl", "is-system-running", "--wait", code=None).strip()
        if state != "running":
            raise NotBooted(f"it is {state}: {self.run('systemctl', '--failed', '--no-legend', code=None)}")

    def _find_init(self) -> int:
        """The pid of its PID 1, as it is here, once that can be talked to; 0 before."""
        with suppress(OSError):
            for pid in (self._cgroup / "init.scope" / "cgroup.procs").read_text().split()[:1]:
                return int(pid) if Path(f"/proc/{pid}/root/run/systemd/private").is_socket() else 0
        return 0

    def command(self, *words: str) -> list[str]:
        """`words` as they are run in there; killing it kills also what nsenter has started."""
        return ["nsenter", "-t", str(self._init), *_INTO, "setpriv", "--pdeathsig", "KILL", *_ENVIRONMENT, *words]

    def run(self, *words: str, code: int | None = 0, patience_s: float = 30) -> str:
        """Both outputs; fails the test if it ends otherwise than with `code` (None: with anything)."""
        ran = subprocess.run(
            self.command(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=patience_s
        )
        assert code in (None, ran.returncode), f"{' '.join(words)}: exit code {ran.returncode}\n{ran.stdout}"
        return ran.stdout

    def start(self, *words: str) -> subprocess.Popen[str]:
        """With pipes; whoever starts it waits for it."""
        return subprocess.Popen(self.command(*words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def put(self, path: str, text: str) -> None:
        """A file in there; readable for all."""
        Path(f"/proc/{self._init}/root{path}").parent.mkdir(parents=True, exist_ok=True)
        Path(f"/proc/{self._init}/root{path}").write_text(text)

    def close(self) -> None:
        """End everything in there, and take the cgroup away."""
        (self._cgroup / "cgroup.kill").write_text("1")
        self._process.wait(BOOT_S)
        folders = [Path(path) for path, _, _ in os.walk(self._cgroup, topdown=False)]
        for folder in folders:
            eventually(lambda folder=folder: _is_removed(folder), f"{folder} to be empty")  # type: ignore[misc]


def _is_removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return not folder.exists()
    return True


M = TypeVar("M", bound=Machine)


@contextmanager
def booted(folder: Path, kind: type[M]) -> Iterator[M]:
    """A machine with shardproxy and its units installed by `systemd/install.sh`.  Raises `NotBooted`."""
    machine = kind(folder / "stage")
    try:
        machine.boot()
        machine.run("/opt/checkout/systemd/install.sh", "/opt/shardproxy")
        yield machine
    finally:
        machine.close()
