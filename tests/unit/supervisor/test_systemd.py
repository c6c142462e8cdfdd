"""The protocols of systemd against real sockets and, where it takes a process of its own, real processes."""

from __future__ import annotations

import json
import os
import shutil
import socket
import string
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.config.units import Address
from shardproxy.supervisor import systemd
from shardproxy.supervisor.systemd import Manager, inherited, stored_name

ROOT = Path(__file__).parents[3]


class Datagram(NamedTuple):
    text: str
    descriptors: list[int]

    @property
    def words(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.text.splitlines())


class Listening:
    """The manager's end of $NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(5)

    def take(self) -> Datagram:
        data, descriptors, _, _ = socket.recv_fds(self.socket, 8192, 8)
        return Datagram(data.decode(), descriptors)

    def has_nothing(self) -> bool:
        self.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            self.socket.recv(1)
        self.socket.settimeout(5)
        return True


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listening]:
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "SHARDPROXY_LENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    listening = Listening(str(tmp_path / "notify"))
    yield listening
    listening.socket.close()


@contextmanager
def memory() -> Iterator[int]:
    fd = os.memfd_create("test")
    yield fd
    os.close(fd)


def listener(*, shares_port: bool = False, port: int = 0) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shares_port)
    one.bind(("127.0.0.1", port))
    one.listen()
    return one


def address_of(one: socket.socket) -> Address:
    return Address(*one.getsockname())


# States


def test_each_state_is_one_datagram(heard: Listening) -> None:
    manager = Manager()
    assert manager.is_there
    assert manager.ready("2 workers")
    assert heard.take().text == "READY=1\nSTATUS=2 workers"
    assert manager.stopping("draining", 30_000_000_000)
    assert heard.take().text == "STOPPING=1\nEXTEND_TIMEOUT_USEC=30000000\nSTATUS=draining"
    assert manager.stopping("at once")
    assert heard.take().text == "STOPPING=1\nSTATUS=at once"
    assert manager.status("well")
    assert heard.take().text == "STATUS=well"


def test_a_reload_begins_with_its_time_in_the_same_datagram(heard: Listening) -> None:
    before = time.monotonic_ns() // 1000
    assert Manager().reloading()
    words = heard.take().words
    assert words["RELOADING"] == "1"
    assert before <= int(words["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000


def test_a_status_is_one_short_line_whatever_it_says(heard: Listening) -> None:
    assert Manager().status("refused:\n  line 3\udcff\nREADY=1 " + "\N{SNOWMAN}" * 5000)
    data = heard.take().text
    assert data.startswith("STATUS=refused: line 3? READY=1 \N{SNOWMAN}")
    assert data.count("\n") == 0
    assert len(data.encode()) < 4096


def test_an_abstract_address_begins_with_an_at_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"shardproxy-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
    listening = Listening("\0" + name)
    assert Manager().ready("up")
    assert listening.take().words["READY"] == "1"
    listening.socket.close()


@pytest.mark.parametrize("where", [None, "", "relative", "vsock:2:1234"])
def test_without_an_address_nothing_happens(where: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if where is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", where)
    manager = Manager()
    assert not manager.is_there
    assert not any([manager.ready("up"), manager.reloading(), manager.status("up"), manager.stopping("down")])
    assert not any([manager.store("a", 99), manager.forget("a"), manager.keep([], {"segment": 99})])


def test_a_manager_that_has_gone_is_said_once_and_harms_nobody(
    heard: Listening, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manager = Manager()
    (tmp_path / "notify").unlink()
    assert not manager.ready("up")
    assert not manager.status("still up")
    assert [record.message for record in caplog.records] == [
        "systemd cannot be told READY=1: No such file or directory"
    ]


def test_a_manager_that_reads_nothing_is_not_waited_for(heard: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "PATIENCE_S", 0.05)
    manager = Manager()
    began, spent = time.monotonic(), time.process_time()
    for _ in range(2000):
        if not manager.status("busy"):
            break
    else:
        pytest.fail("the queue of the manager has no end")
    assert time.monotonic() - began < 5
    assert time.process_time() - spent < 1, "it was waited for in a busy loop"


# Signs of life


def test_it_beats_twice_in_the_time_that_systemd_allows(heard: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    manager = Manager()
    now_ns = time.monotonic_ns()
    manager.beat(now_ns)
    assert heard.take().text == "WATCHDOG=1"
    assert manager.watchdog_due_ns() == now_ns + 5_000_000_000
    manager.beat(now_ns + 4_999_999_999)
    assert heard.has_nothing()
    manager.beat(now_ns + 5_000_000_000)
    assert heard.take().text == "WATCHDOG=1"


def test_a_beat_that_was_not_delivered_is_tried_again_in_time(
    heard: Listening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "8000000")
    manager = Manager()
    (tmp_path / "notify").unlink()
    now_ns = time.monotonic_ns()
    manager.beat(now_ns)
    assert manager.watchdog_due_ns() == now_ns + 1_000_000_000


@pytest.mark.parametrize(("usec", "pid"), [("", ""), ("10", "1"), ("0", ""), ("much", "")])
def test_no_beat_is_asked_for(usec: str, pid: str, heard: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    manager = Manager()
    assert manager.watchdog_due_ns() is None
    manager.beat(time.monotonic_ns())
    assert heard.has_nothing()


# The store


def test_a_descriptor_travels_with_its_name(heard: Listening) -> None:
    manager = Manager()
    with memory() as fd:
        os.write(fd, b"kept")
        assert manager.store("segment", fd)
    text, (copy,) = heard.take()
    assert text == "FDSTORE=1\nFDNAME=segment\nFDPOLL=0"
    assert os.pread(copy, 10, 0) == b"kept"
    os.close(copy)
    assert manager.forget("segment")
    assert heard.take() == ("FDSTOREREMOVE=1\nFDNAME=segment", [])


def stored(heard: Listening) -> list[str]:
    """`+name` and `-name`, as they come until there is nothing more; all descriptors closed."""
    seen: list[str] = []
    heard.socket.setblocking(False)
    while True:
        try:
            datagram = heard.take()
        except BlockingIOError:
            return seen
        for fd in datagram.descriptors:
            os.close(fd)
        if "FDNAME" in datagram.words:
            seen.append(("+" if "FDSTORE" in datagram.words else "-") + datagram.words["FDNAME"])


def test_only_what_has_changed_is_sent(heard: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "PATIENCE_S", 0.01)  # nobody acts on it before it is looked at
    manager = Manager()
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(listener()) for _ in range(3))
        old, new = stack.enter_context(memory()), stack.enter_context(memory())
        a, b = address_of(first), address_of(second)
        assert manager.keep([(a, [first]), (b, [second])], {"segment": old})
        assert stored(heard) == ["+" + stored_name(a, 0), "+" + stored_name(b, 0), "+segment"]
        assert manager.keep([(a, [first]), (b, [second])], {"segment": old})
        assert stored(heard) == []
        assert manager.keep([(a, [first, third])], {"segment": new})
        assert stored(heard) == ["-" + stored_name(b, 0), "-segment", "+" + stored_name(a, 1), "+segment"]


def test_what_was_not_delivered_is_sent_the_next_time(heard: Listening, tmp_path: Path) -> None:
    manager = Manager()
    with memory() as fd:
        (tmp_path / "notify").rename(tmp_path / "away")
        assert not manager.keep([], {"segment": fd})
        (tmp_path / "away").rename(tmp_path / "notify")
        assert manager.keep([], {"segment": fd})
    assert stored(heard) == ["+segment"]


def test_what_is_forgotten_is_closed_when_keep_returns(heard: Listening) -> None:
    acted: list[str] = []

    def act() -> None:
        for _ in range(3):
            datagram = heard.take()
            acted.append(datagram.text.splitlines()[0])
            for fd in datagram.descriptors:
                os.close(fd)

    manager = Manager()
    thread = threading.Thread(target=act)
    thread.start()
    with memory() as fd:
        manager.store("segment", fd)
    assert manager.keep([], {})
    assert acted == ["FDSTORE=1", "FDSTOREREMOVE=1", "BARRIER=1"]
    thread.join(5)


# Names

FDNAME = set(string.printable) - set(string.whitespace) - {":"}
PATHS = st.text(st.characters(min_codepoint=32, codec="utf-8"), max_size=26).map(lambda name: "/" + name)
ADDRESSES = st.one_of(
    st.builds(Address, st.ip_addresses().map(str), st.integers(1, 65535)),
    st.builds(lambda path: Address(path=path), PATHS),
)


@given(ADDRESSES, st.integers(0, 1023))
def test_a_name_is_what_systemd_takes_and_gives_its_index_back(address: Address, index: int) -> None:
    name = stored_name(address, index)
    assert set(name) <= FDNAME
    assert len(name) <= 255
    assert systemd._index(name) == index


@given(st.sets(st.tuples(ADDRESSES, st.integers(0, 1023))))
def test_two_sockets_never_have_one_name(sockets: set[tuple[Address, int]]) -> None:
    assert len({stored_name(*each) for each in sockets}) == len(sockets)


def test_a_name_can_be_read() -> None:
    assert stored_name(Address("127.0.0.1", 8080), 3) == "listen.3.127.0.0.1%3A8080"
    assert stored_name(Address(path="/run/a.sock"), 0) == "listen.0.unix%3A/run/a.sock"
    assert len(stored_name(Address(path="/" + "\N{SNOWMAN}" * 35), 12)) <= 255


@pytest.mark.parametrize(
    "name", ["listen", "listen.x.y", "listen.1", "listen.-1.a", "shardproxy.socket", "", "listen.1."]
)
def test_other_names_have_no_index(name: str) -> None:
    assert systemd._index(name) is None


# What systemd passes.  The numbers must begin at 3, so it takes another process to try it.

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
