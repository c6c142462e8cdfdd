"""What systemd passes at the start.  The descriptors must begin at 3, so each is tried in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from shardproxy.supervisor import systemd
from shardproxy.supervisor.systemd import Manager, inherited, stored_name
from tests.proxykit import ROOT
from tests.systemd.notified import Listening, address_of, listener, memory, stored

CHILD = """
import json, os, sys
from shardproxy.supervisor.systemd import Manager, inherited
found, again = inherited(), inherited()
manager = Manager(found)
fds = [one.fileno() for group in found.sockets.values() for one in group] + list(found.memory.values())
print(json.dumps({
    "sockets": {str(at): [os.fstat(one.fileno()).st_ino for one in group] for at, group in found.sockets.items()},
    "memory": {name: os.pread(fd, 100, 0).decode() for name, fd in found.memory.items()},
    "lent": [str(address) for address in manager.lent],
    "again": len(again.sockets) + len(again.memory),
    "inheritable": [fd for fd in fds if os.get_inheritable(fd)],
    "blocking": [str(one) for group in found.sockets.values() for one in group if one.getblocking()],
    "listen": [name for name in os.environ if name.startswith("LISTEN_")],
    "open": sorted(fd for fd in range(3, 20) if os.path.exists(f"/proc/self/fd/{fd}")),
    "used": sorted(fds),
    "kept": manager.keep([(address, group) for address, group in found.sockets.items()], found.memory),
    "repr": repr(manager),
}))
"""
EXEC = """
import os, sys
given = [int(word) for word in sys.argv[1].split(",")]
high = [os.dup2(fd, 100 + number) for number, fd in enumerate(given)]
for number, fd in enumerate(high):
    os.dup2(fd, 3 + number)
os.closerange(3 + len(high), 200)
os.environ["LISTEN_PID"] = os.environ.get("LISTEN_PID") or str(os.getpid())
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def passed(descriptors: list[int], program: str = CHILD, **environment: str) -> dict[str, object]:
    """What a process reports that was given these as systemd gives them."""
    words = {"LISTEN_FDS": str(len(descriptors)), **environment}
    ran = subprocess.run(
        [sys.executable, "-c", EXEC, ",".join(map(str, descriptors)), "-c", program],
        env={**{k: v for k, v in os.environ.items() if k != "NOTIFY_SOCKET"}, **words},
        pass_fds=descriptors,
        capture_output=True,
        text=True,
        timeout=20,
        cwd=ROOT,
    )
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    return {**json.loads(ran.stdout), "said": ran.stderr}


def inode(one: socket.socket) -> int:
    return os.fstat(one.fileno()).st_ino


def test_stored_sockets_come_back_in_the_order_of_their_binding() -> None:
    with ExitStack() as stack:
        first = stack.enter_context(listener(shares_port=True))
        port = first.getsockname()[1]
        group = [first, *(stack.enter_context(listener(shares_port=True, port=port)) for _ in range(10))]
        fd = stack.enter_context(memory())
        os.write(fd, b"counts")
        # systemd gives back what was stored last first.
        descriptors = [fd, *(one.fileno() for one in reversed(group))]
        names = ["segment", *(stored_name(address_of(first), index) for index in reversed(range(11)))]
        found = passed(descriptors, LISTEN_FDNAMES=":".join(names))
        assert found["sockets"] == {f"127.0.0.1:{port}": [inode(one) for one in group]}
    assert found["memory"] == {"segment": "counts"}
    assert found["lent"] == []


def test_what_is_passed_is_taken_once_and_by_nobody_else() -> None:
    with listener() as one, memory() as fd:
        found = passed([one.fileno(), fd], LISTEN_FDNAMES="listen.0.a:segment")
    assert found["again"] == 0
    assert found["listen"] == found["inheritable"] == found["blocking"] == []


def test_a_socket_unit_lends_its_sockets_and_wins_against_the_store() -> None:
    with listener() as lent, listener() as own:
        descriptors = [lent.fileno(), lent.fileno(), own.fileno()]
        names = ["shardproxy.socket", stored_name(address_of(lent), 0), stored_name(address_of(own), 0)]
        found = passed(descriptors, LISTEN_FDNAMES=":".join(names))
        assert found["sockets"] == {str(address_of(lent)): [inode(lent)], str(address_of(own)): [inode(own)]}
        assert found["lent"] == [str(address_of(lent))]
    assert found["open"] == found["used"] == [3, 5]


def test_what_cannot_be_used_is_said_and_closed(tmp_path: Path) -> None:
    with ExitStack() as stack:
        datagram = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        datagram.bind(("127.0.0.1", 0))
        silent = stack.enter_context(socket.socket())
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0shardproxy-{os.getpid()}")
        abstract.listen()
        gone = stack.enter_context(socket.socket(socket.AF_UNIX))
        gone.bind(str(tmp_path / "gone"))
        gone.listen()
        (tmp_path / "gone").unlink()
        null = stack.enter_context(Path("/dev/null").open())
        descriptors = [each.fileno() for each in (datagram, silent, abstract, gone, null)]
        found = passed(descriptors, LISTEN_FDNAMES="datagram:silent:abstract:gone:null")
    assert found["sockets"] == found["memory"] == {}
    assert found["open"] == []
    said = str(found["said"])
    assert "'datagram', which is not used: it is not a listening stream socket" in said
    assert "'silent', which is not used: it is not a listening stream socket" in said
    assert "'abstract', which is not used: it has no address that a listener could have" in said
    assert f"'gone', which is not used: its file {tmp_path / 'gone'} has gone" in said
    assert "'null', which is neither a socket nor memory" in said


def test_a_unix_and_an_ipv6_socket_are_found_by_their_addresses(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix, socket.socket(socket.AF_INET6) as six:
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        six.bind(("::1", 0))
        six.listen()
        found = passed([unix.fileno(), six.fileno()], LISTEN_FDNAMES="a:b")
        assert found["sockets"] == {
            f"unix:{tmp_path / 's'}": [inode(unix)],
            f"[::1]:{six.getsockname()[1]}": [inode(six)],
        }


@pytest.mark.parametrize(
    "environment",
    [{"LISTEN_PID": "1"}, {"LISTEN_FDS": "many"}, {"LISTEN_FDS": ""}, {"LISTEN_FDS": "-1"}, {"LISTEN_FDS": "0"}],
)
def test_what_is_for_somebody_else_is_left_alone(environment: dict[str, str]) -> None:
    with listener() as one:
        found = passed([one.fileno()], **environment)
    assert found["sockets"] == {}
    assert found["open"] == [3]
    assert found["listen"] == []


def test_more_announced_than_passed_is_no_disaster() -> None:
    with listener() as one:
        found = passed([one.fileno()], LISTEN_FDS="1000000000")
        assert found["sockets"] == {str(address_of(one)): [inode(one)]}
    assert "systemd has announced 1000000000 descriptors, but passed only 1" in str(found["said"])


RESTARTING = """
import os, sys
from shardproxy.supervisor.systemd import Manager, inherited
Manager(inherited())
os.execv(sys.executable, [sys.executable, "-c", AFTERWARDS])
"""
AFTERWARDS = """
import json
from shardproxy.supervisor.systemd import Manager
print(json.dumps({"lent": [str(address) for address in Manager().lent]}))
"""


def test_after_a_hot_restart_it_is_still_known_what_is_lent() -> None:
    with listener() as one:
        program = RESTARTING.replace("AFTERWARDS", repr(AFTERWARDS))
        found = passed([one.fileno()], program, LISTEN_FDNAMES="shardproxy.socket")
        assert found["lent"] == [str(address_of(one))]


def test_a_child_does_not_take_over_what_its_parent_was_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARDPROXY_LENT", "1 127.0.0.1%3A80")
    assert Manager().lent == frozenset()


def test_the_store_of_a_former_process_is_known_and_what_is_outdated_leaves_it(tmp_path: Path) -> None:
    listening = Listening(str(tmp_path / "notify"))
    with listener() as stays, listener() as goes, memory() as fd:
        names = [stored_name(address_of(stays), 0), stored_name(address_of(goes), 0), "segment"]
        program = CHILD.replace(
            "in found.sockets.items()], found.memory)", "in list(found.sockets.items())[:1]], found.memory)"
        )
        descriptors = [stays.fileno(), goes.fileno(), fd]
        found = passed(descriptors, program, LISTEN_FDNAMES=":".join(names), NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert found["kept"] is True
        assert stored(listening) == ["-" + names[1]]
    listening.socket.close()


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="systemd-socket-activate is not installed")
def test_systemds_own_socket_activation_is_understood() -> None:
    with listener() as probe:
        where = f"127.0.0.1:{probe.getsockname()[1]}"
    command = ["systemd-socket-activate", "-l", where, "--fdname=web", "-E", f"PYTHONPATH={ROOT}"]
    activated = subprocess.Popen(
        [*command, sys.executable, "-c", CHILD], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert activated.stderr is not None
        while where not in activated.stderr.readline():
            pass
        host, port = where.split(":")
        socket.create_connection((host, int(port)), 5).close()
        said, _ = activated.communicate(timeout=20)
    finally:
        activated.kill()
        activated.wait()
    found = json.loads(said)
    assert list(found["sockets"]) == found["lent"] == [where]
    assert found["listen"] == []


def test_this_process_was_passed_nothing() -> None:
    assert inherited() == systemd.Found()
