"""What systemd is told, by a real socket."""

from __future__ import annotations

import os
import string
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.config.units import Address
from shardproxy.supervisor import systemd
from shardproxy.supervisor.systemd import Manager, stored_name
from tests.systemd.notified import Listening, address_of, listener, memory, stored


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listening]:
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "SHARDPROXY_LENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    listening = Listening(str(tmp_path / "notify"))
    yield listening
    listening.socket.close()


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
