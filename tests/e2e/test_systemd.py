"""The unit as it is installed, under a real systemd: start, reload, restart, crash, watchdog, socket activation."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shardproxy.supervisor.sockets import Sockets
from tests.proxykit import eventually
from tests.systemd.machine import PYTHON, Machine, NotBooted, booted, why_not

UNIT = "shardproxy.service"
PROGRAM = "/opt/shardproxy/bin/shardproxy"
CONFIGURATION = """
workers: 2
cpu_affinity: auto
listeners:
  - bind: 127.0.0.1:80
    routes:
      - {match: {path: /rare}, cluster: app, rate_limits: [rare]}
      - {match: {prefix: /}, cluster: app}
  - bind: unix:/run/shardproxy/web.sock
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - {name: app, endpoints: [127.0.0.1:9001]}
rate_limits:
  - {name: rare, rate: 1/h, burst: 2}
"""

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


class Service(Machine):
    """What the tests do with the unit."""

    def systemctl(self, *words: str, code: int | None = 0) -> str:
        return self.run("systemctl", *words, code=code).strip()

    def shows(self, name: str, unit: str = UNIT) -> str:
        return self.systemctl("show", "-P", name, unit)

    def main_pid(self) -> int:
        return int(self.shows("MainPID"))

    def journal(self) -> str:
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", UNIT)

    def configure(self, text: str) -> None:
        self.put("/etc/shardproxy/shardproxy.yaml", text)

    def change(self, unit: str, text: str) -> None:
        """A drop-in, until the next `reset`."""
        self.put(f"/etc/systemd/system/{unit}.d/test.conf", text)
        self.systemctl("daemon-reload")

    def reset(self) -> None:
        """As it was installed, and stopped."""
        self.systemctl("stop", "shardproxy.socket", UNIT)
        self.run("bash", "-c", "rm -rf /etc/systemd/system/shardproxy.*.d; journalctl --rotate --vacuum-time=1s")
        self.systemctl("daemon-reload")
        self.systemctl("reset-failed")
        self.configure(CONFIGURATION)

    def curl(self, *words: str) -> str:
        """The status and the answer."""
        return self.run("curl", "-s", "-m", "10", "-w", "%{http_code} ", *words, code=None).strip()

    @contextmanager
    def load(self) -> Iterator[dict[str, int]]:
        """Clients on port 80 inside the block; afterwards what became of them."""
        numbers: dict[str, int] = {}
        clients = self.start(PYTHON, "-m", "tests.systemd.clients", "80")
        assert clients.stdout is not None
        try:
            assert clients.stdout.readline() == "started\n"
            yield numbers
            numbers.update(json.loads(clients.communicate(timeout=30)[0]))
        finally:
            clients.kill()
            clients.communicate()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    try:
        with booted(tmp_path_factory.mktemp("systemd"), Service) as running:
            origin = running.start(PYTHON, "-m", "tests.origin", "9001")
            yield running
            origin.kill()
            origin.communicate()
    except NotBooted as reason:
        pytest.skip(f"systemd does not boot here: {reason}")


@pytest.fixture
def service(machine: Service) -> Iterator[Service]:
    machine.reset()
    yield machine
    said = machine.journal()
    assert "Traceback" not in said, said


def all_served(numbers: dict[str, int]) -> bool:
    assert numbers["all"] > 8, "each of 8 clients is served"
    return numbers["ok"] == numbers["all"] and not numbers["broken"] and not numbers["refused"]


# Start and stop


def test_a_start_is_over_when_all_workers_serve(service: Service) -> None:
    service.systemctl("start", UNIT)
    assert service.curl("http://127.0.0.1/") == "9001\n200"
    assert service.shows("StatusText") == "2 workers serve configuration 1, generation 1"
    assert service.shows("ActiveState") == "active"
    assert "worker" in service.run(PROGRAM, "status")


def test_a_stop_ends_well_and_at_once_when_nobody_is_served(service: Service) -> None:
    service.systemctl("start", UNIT)
    service.systemctl("stop", UNIT)
    assert service.shows("Result") == "success"
    assert service.shows("ActiveState") == "inactive"
    assert service.shows("NFileDescriptorStore") == "0"


def test_a_wrong_configuration_fails_once_and_says_why(service: Service) -> None:
    service.configure("listeners: 5\n")
    service.systemctl("start", UNIT, code=1)
    assert (service.shows("ActiveState"), service.shows("NRestarts")) == ("failed", "0")
    assert service.shows("ExecMainStatus") == "2"
    assert "/etc/shardproxy/shardproxy.yaml:1: listeners" in service.journal()


def test_every_process_has_the_least_privileges(service: Service) -> None:
    service.systemctl("start", UNIT)
    eventually(lambda: "200" in service.curl("http://127.0.0.1:9901/stats"), "the controller")
    pids = service.run("cat", f"/sys/fs/cgroup/system.slice/{UNIT}/cgroup.procs").split()
    assert len(pids) == 4
    for pid in pids:
        words = dict(line.split(":\t", 1) for line in service.run("cat", f"/proc/{pid}/status").splitlines())
        uid = service.run("id", "-u", "shardproxy").strip()
        assert words["Uid"].split() == [uid] * 4
        assert (words["NoNewPrivs"], words["Seccomp"]) == ("1", "2")
        assert {int(words[name], 16) for name in ("CapEff", "CapBnd", "CapPrm")} == {1 << 10}  # CAP_NET_BIND_SERVICE
        limits = service.run("cat", f"/proc/{pid}/limits")
        assert int(re.findall(r"Max open files +(\d+)", limits)[0]) >= 20000


def test_nothing_was_refused_by_the_sandbox(service: Service) -> None:
    service.systemctl("start", UNIT)
    eventually(lambda: "200" in service.curl("http://127.0.0.1:9901/stats"), "the controller")
    said = service.journal()
    assert "WARNING" not in said, said
    assert "ERROR" not in said, said


PROBE = """
import mmap, os, socket

def attempt(name, act):
    try:
        act()
    except OSError as error:
        print("probe:", name, error.strerror)
    else:
        print("probe:", name, "done")

attempt("pin", lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}))
attempt("memory", lambda: os.close(os.memfd_create("probe")))
attempt("log", lambda: os.close(os.open("/var/log/shardproxy/probe", os.O_CREAT | os.O_WRONLY)))
attempt("nice", lambda: os.nice(-1))
attempt("code", lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC))
attempt("netlink", lambda: socket.socket(16, socket.SOCK_RAW))
attempt("write", lambda: os.open("/etc/shardproxy/probe", os.O_CREAT | os.O_WRONLY))
"""


def test_the_sandbox_permits_what_the_proxy_needs_and_not_more(service: Service) -> None:
    service.put("/opt/probe.py", PROBE)
    service.change(UNIT, f"[Service]\nExecStartPre={PYTHON} /opt/probe.py\n")
    service.systemctl("start", UNIT)
    assert re.findall(r"probe: (.*)", service.journal()) == [
        "pin done",
        "memory done",
        "log done",
        "nice Operation not permitted",
        "code Operation not permitted",
        "netlink Address family not supported by protocol",
        "write Read-only file system",
    ]


# Reload and hot restart


def test_a_reload_returns_when_the_file_is_served(service: Service) -> None:
    service.systemctl("start", UNIT)
    pid = service.main_pid()
    with service.load() as numbers:
        for status in (201, 202, 203):
            service.configure(CONFIGURATION.replace("workers: 2", f"workers: 2\nlog: {{level: info}}  # {status}"))
            service.systemctl("reload", UNIT)
            assert service.shows("ActiveState") == "active"
    assert all_served(numbers)
    assert service.shows("StatusText").startswith(("reload: configuration 4", "2 workers serve configuration 4"))
    assert service.main_pid() == pid


def test_a_reload_that_is_refused_fails_and_says_why(service: Service) -> None:
    service.systemctl("start", UNIT)
    service.configure(CONFIGURATION.replace("cluster: app", "cluster: ap"))
    service.systemctl("reload", UNIT, code=1)
    assert "there is no cluster 'ap'" in service.journal()
    assert service.shows("ActiveState") == "active"
    assert service.curl("http://127.0.0.1/") == "9001\n200"


def test_a_hot_restart_keeps_the_pid_and_loses_nobody(service: Service) -> None:
    service.change(UNIT, "[Service]\nWatchdogSec=1500ms\n")
    service.systemctl("start", UNIT)
    pid = service.main_pid()
    with service.load() as numbers:
        service.run(PROGRAM, "restart")
        stored = service.shows("NFileDescriptorStore")
        service.run(PROGRAM, "restart")
        assert service.shows("NFileDescriptorStore") == stored, "what is stored piles up"
    assert all_served(numbers)
    eventually(lambda: "generation 3" in service.shows("StatusText"), "the third generation")
    assert (service.main_pid(), service.shows("NRestarts"), service.shows("ActiveState")) == (pid, "0", "active")


def test_scaling_under_load_loses_nobody(service: Service) -> None:
    service.systemctl("start", UNIT)
    with service.load() as numbers:
        for workers in ("4", "1", "3", "1"):
            service.run(PROGRAM, "scale", workers)
    assert all_served(numbers)


# A new process


def test_a_restart_refuses_nobody(service: Service) -> None:
    service.systemctl("start", UNIT)
    pid = service.main_pid()
    with service.load() as numbers:
        service.systemctl("restart", UNIT)
        service.systemctl("restart", UNIT)
    assert all_served(numbers)
    assert service.main_pid() != pid


def test_a_restart_keeps_the_buckets(service: Service) -> None:
    service.systemctl("start", UNIT)
    assert [service.curl("http://127.0.0.1/rare")[-3:] for _ in range(3)] == ["200", "200", "429"]
    service.systemctl("restart", UNIT)
    assert service.curl("http://127.0.0.1/rare")[-3:] == "429"


@pytest.mark.skipif(
    not hasattr(Sockets, "leave_files"), reason="Unix sockets' files are removed at the end, even if systemd keeps them"
)
def test_a_restart_keeps_unix_listeners(service: Service) -> None:
    service.systemctl("start", UNIT)
    service.systemctl("restart", UNIT)
    assert service.curl("--unix-socket", "/run/shardproxy/web.sock", "http://a/") == "9001\n200"
    assert "has gone" not in service.journal()


def test_what_the_next_configuration_does_not_have_leaves_the_store(service: Service) -> None:
    service.systemctl("start", UNIT)
    stored = int(service.shows("NFileDescriptorStore"))
    service.configure(CONFIGURATION.replace("127.0.0.1:80\n", "127.0.0.1:81\n"))
    service.systemctl("restart", UNIT)
    assert service.curl("http://127.0.0.1:81/") == "9001\n200"
    assert service.curl("http://127.0.0.1/") == "000"
    assert int(service.shows("NFileDescriptorStore")) == stored


def test_after_a_crash_nobody_is_refused(service: Service) -> None:
    service.systemctl("start", UNIT)
    with service.load() as numbers:
        service.systemctl("kill", "--kill-who=main", "-s", "KILL", UNIT)
        eventually(lambda: service.shows("NRestarts") == "1" and service.shows("SubState") == "running", "another one")
    assert numbers["refused"] == 0
    assert numbers["ok"] == numbers["all"] > 8
    assert "the shared memory that systemd has kept goes on" in service.journal()


def test_a_supervisor_that_hangs_is_replaced(service: Service) -> None:
    service.change(UNIT, "[Service]\nWatchdogSec=1500ms\nTimeoutAbortSec=500ms\nLimitCORE=0\n")
    service.systemctl("start", UNIT)
    service.systemctl("kill", "--kill-who=main", "-s", "STOP", UNIT)
    eventually(lambda: service.shows("NRestarts") == "1" and service.shows("SubState") == "running", "another one")
    assert "Watchdog timeout" in service.journal()
    assert service.curl("http://127.0.0.1/") == "9001\n200"


# Sockets of a .socket unit

LENT = "[Socket]\nListenStream=\nListenStream=127.0.0.1:80\nListenStream=/run/shardproxy/web.sock\n"


def test_the_first_connection_starts_it(service: Service) -> None:
    service.change("shardproxy.socket", LENT)
    service.systemctl("start", "shardproxy.socket")
    assert service.shows("ActiveState") == "inactive"
    assert service.curl("http://127.0.0.1/") == "9001\n200"
    eventually(lambda: service.shows("ActiveState") == "active", "the end of the start")
    assert service.curl("--unix-socket", "/run/shardproxy/web.sock", "http://a/") == "9001\n200"


def test_the_sockets_of_a_socket_unit_outlive_a_stop(service: Service) -> None:
    service.change("shardproxy.socket", LENT)
    service.systemctl("start", "shardproxy.socket", UNIT)
    with service.load() as numbers:
        service.systemctl("restart", UNIT)
        service.run(PROGRAM, "restart")
        service.systemctl("stop", UNIT)
        eventually(lambda: service.shows("ActiveState") == "active", "the next connection to start it")
    assert all_served(numbers)
    assert service.curl("--unix-socket", "/run/shardproxy/web.sock", "http://a/") == "9001\n200"


# Newer systemd


def version() -> int:
    if shutil.which("systemctl") is None:
        return 0
    said = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, timeout=10).stdout
    return int(re.findall(r"systemd (\d+)", said)[0])


def dropin(name: str) -> str:
    return (Path(__file__).parents[2] / "systemd" / "dropins" / name).read_text()


@pytest.mark.skipif(version() < 253, reason=f"Type=notify-reload takes systemd 253, this is {version()}")
def test_with_notify_reload_a_reload_happens_once_and_is_waited_for(service: Service) -> None:
    service.change(UNIT, dropin("253-notify-reload.conf"))
    service.systemctl("start", UNIT)
    service.systemctl("reload", UNIT)
    assert service.shows("StatusText").endswith("configuration 2 is served by all 2 workers")


@pytest.mark.skipif(version() < 254, reason=f"FileDescriptorStorePreserve= takes systemd 254, this is {version()}")
def test_what_is_stored_can_outlive_a_stop(service: Service) -> None:
    service.change(UNIT, dropin("254-keep-over-stop.conf"))
    service.systemctl("start", UNIT)
    service.systemctl("stop", UNIT)
    assert service.shows("NFileDescriptorStore") != "0"
    service.systemctl("clean", "--what=fdstore", UNIT)
