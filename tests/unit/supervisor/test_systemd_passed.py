"""What systemd passes, taken in this process: the descriptors begin at a number that is free here."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from shardproxy.config.units import Address
from shardproxy.supervisor import systemd
from shardproxy.supervisor.systemd import Found, Manager, inherited, stored_name
from tests.systemd.notified import address_of, listener, memory
from tests.unit.supervisor.scripts import Lines

FIRST = 700

Pass = Callable[..., Found]


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines, logger = Lines(), logging.getLogger(systemd.__name__)
    logger.addHandler(lines)
    yield lines.lines
    logger.removeHandler(lines)


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pass]:
    """Takes names and descriptors as systemd would pass them; what was found is closed afterwards."""
    every: list[Found] = []

    def passing(names: list[str], descriptors: list[int], **environment: str) -> Found:
        for number, fd in enumerate(descriptors):
            os.dup2(fd, FIRST + number)
        words = {"PID": str(os.getpid()), "FDS": str(len(descriptors)), "FDNAMES": ":".join(names), **environment}
        for word, value in words.items():
            monkeypatch.setenv(f"LISTEN_{word}", value)
        every.append(inherited(FIRST))
        return every[-1]

    yield passing
    for found in every:
        for one in [one for group in found.sockets.values() for one in group]:
            one.close()
        for fd in found.memory.values():
            os.close(fd)
    for fd in range(FIRST, FIRST + 20):
        if is_open(fd):
            os.close(fd)


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def inode(one: socket.socket | int) -> int:
    return os.fstat(one if isinstance(one, int) else one.fileno()).st_ino


def test_stored_sockets_come_back_in_their_order_and_memory_by_its_name(passed: Pass) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(listener(shares_port=True))
        port = first.getsockname()[1]
        group = [first, *(stack.enter_context(listener(shares_port=True, port=port)) for _ in range(10))]
        fd = stack.enter_context(memory())
        descriptors = [fd, *(one.fileno() for one in reversed(group))]
        names = ["segment", *(stored_name(address_of(first), index) for index in reversed(range(11)))]
        found = passed(names, descriptors)
        assert {at: [inode(one) for one in own] for at, own in found.sockets.items()} == {
            Address("127.0.0.1", port): [inode(one) for one in group]
        }
        assert {name: inode(fd) for name, fd in found.memory.items()} == {"segment": inode(fd)}
        assert found.lent == frozenset()
        assert found.stored.keys() == set(names)
        own = [one for each in found.sockets.values() for one in each]
        assert not any(one.getblocking() or one.get_inheritable() for one in own)
        assert not os.get_inheritable(found.memory["segment"])


def test_it_is_taken_once(passed: Pass) -> None:
    with listener() as one:
        assert passed(["a"], [one.fileno()]).sockets
    assert inherited(FIRST) == Found()
    assert not [name for name in os.environ if name.startswith("LISTEN_")]


def test_what_a_socket_unit_lends_wins_against_the_store(passed: Pass) -> None:
    with listener() as lent, listener() as own:
        names = ["shardproxy.socket", stored_name(address_of(lent), 0), stored_name(address_of(own), 0)]
        found = passed(names, [lent.fileno(), lent.fileno(), own.fileno()])
        assert {at: [one.fileno() for one in group] for at, group in found.sockets.items()} == {
            address_of(lent): [FIRST], address_of(own): [FIRST + 2]
        }  # fmt: skip
        assert found.lent == {address_of(lent)}
        assert not is_open(FIRST + 1)
        assert found.stored.keys() == set(names[1:])


def test_names_may_be_missing(passed: Pass) -> None:
    with listener() as one, listener() as other:
        found = passed(["web"], [one.fileno(), other.fileno()])
        assert found.lent == {address_of(one), address_of(other)}


@pytest.mark.parametrize("environment", [{"PID": "1"}, {"FDS": "many"}, {"FDS": ""}, {"FDS": "-1"}, {"FDS": "0"}])
def test_what_is_for_somebody_else_is_left_alone(environment: dict[str, str], passed: Pass) -> None:
    with listener() as one:
        assert passed(["a"], [one.fileno()], **environment) == Found()
    assert is_open(FIRST)


def test_more_announced_than_passed_is_no_disaster(passed: Pass, log: list[str]) -> None:
    with listener() as one:
        found = passed(["a"], [one.fileno()], FDS="1000000000")
        assert list(found.sockets) == [address_of(one)]
    assert log == ["WARNING systemd has announced 1000000000 descriptors, but passed only 1"]


def test_of_two_memories_of_one_name_the_later_is_used(passed: Pass) -> None:
    with memory() as one, memory() as other:
        found = passed(["segment", "segment"], [one, other])
        assert found.memory == {"segment": FIRST + 1}
    assert not is_open(FIRST)


def test_what_cannot_be_used_is_said_and_closed(passed: Pass, tmp_path: Path, log: list[str]) -> None:
    with ExitStack() as stack:
        datagram = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        datagram.bind(("127.0.0.1", 0))
        silent = stack.enter_context(socket.socket())
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0shardproxy-{os.getpid()}-passed")
        abstract.listen()
        gone = stack.enter_context(socket.socket(socket.AF_UNIX))
        gone.bind(str(tmp_path / "gone"))
        gone.listen()
        (tmp_path / "gone").unlink()
        null = stack.enter_context(Path("/dev/null").open())
        fds = [datagram.fileno(), silent.fileno(), abstract.fileno(), gone.fileno(), null.fileno()]
        found = passed(["datagram", "silent", "abstract", "gone", "null"], fds)
    assert found == Found()
    assert not any(is_open(FIRST + number) for number in range(5))
    not_used = "WARNING systemd has passed '%s', which is not used: %s"
    assert log == [
        not_used % ("datagram", "it is not a listening stream socket"),
        not_used % ("silent", "it is not a listening stream socket"),
        not_used % ("abstract", "it has no address that a listener could have"),
        not_used % ("gone", f"its file {tmp_path / 'gone'} has gone"),
        "WARNING systemd has passed 'null', which is neither a socket nor memory",
    ]


def test_a_unix_and_an_ipv6_socket_are_found_by_their_addresses(passed: Pass, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix, socket.socket(socket.AF_INET6) as six:
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        six.bind(("::1", 0))
        six.listen()
        found = passed(["a", "b"], [unix.fileno(), six.fileno()])
        assert list(found.sockets) == [Address(path=str(tmp_path / "s")), Address("::1", six.getsockname()[1])]


# What was lent is remembered over a hot restart


@pytest.fixture
def lent(monkeypatch: pytest.MonkeyPatch) -> frozenset[Address]:
    monkeypatch.delenv("SHARDPROXY_LENT", raising=False)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    addresses = frozenset({Address("127.0.0.1", 80), Address(path="/run/a b.sock")})
    assert Manager(Found(lent=addresses)).lent == addresses
    return addresses


def test_the_same_process_still_knows_it(lent: frozenset[Address]) -> None:
    assert Manager().lent == lent
    assert Manager().lent == lent


def test_another_process_does_not(lent: frozenset[Address]) -> None:
    words = os.environ["SHARDPROXY_LENT"].split(" ")
    os.environ["SHARDPROXY_LENT"] = " ".join(["1", *words[1:]])
    assert Manager().lent == frozenset()
    assert "SHARDPROXY_LENT" not in os.environ


def test_what_is_lent_now_replaces_what_was(lent: frozenset[Address]) -> None:
    now = frozenset({Address("127.0.0.1", 81)})
    assert Manager(Found(lent=now)).lent == now
    assert Manager().lent == now


def test_words_that_are_no_addresses_are_forgotten(lent: frozenset[Address]) -> None:
    os.environ["SHARDPROXY_LENT"] = f"{os.getpid()} nonsense"
    assert Manager().lent == frozenset()


def test_a_manager_says_where_systemd_is_and_how_much_it_keeps(
    lent: frozenset[Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert repr(Manager()) == "<Manager absent stored=0>"
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    assert repr(Manager(Found(stored={"segment": (1, 2)}))) == "<Manager /run/notify stored=1>"
