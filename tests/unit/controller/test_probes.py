"""Checks of real servers, one for each way in which one can be ill."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from shardproxy.config.schema import HealthCheck
from shardproxy.config.units import Address, parse_address
from shardproxy.controller.probes import GOOD, MOST_BODY_BYTES, probe_of
from shardproxy.controller.reasons import Reason, Why
from tests.patient import patient
from tests.proxykit import free_port, scripted_origin
from tests.unit.controller.shortage import no_descriptors_left


def ask(address: str, **check: Any) -> Reason | None:
    check = {"path": "/healthz", "timeout": 2 * 10**9, **check}
    return asyncio.run(probe_of(HealthCheck(**check), parse_address(address)).ask())


def test_an_expected_status_is_good_and_any_other_is_told() -> None:
    with patient() as one:
        assert ask(one.address) == GOOD
        one.status = 503
        assert ask(one.address) == Reason(Why.STATUS, 503)
        assert ask(one.address, expected=("200-299", "503")) == GOOD


def test_a_redirect_is_not_followed() -> None:
    with patient() as one:
        one.status = 302
        assert ask(one.address) == Reason(Why.STATUS, 302)


def test_the_body_must_hold_the_text() -> None:
    with patient() as one:
        one.body = b"x" * 5000 + b"database: ok"
        assert ask(one.address, body="database: ok") == GOOD
        assert ask(one.address, body="database: down") == Reason(Why.BODY)


@pytest.mark.parametrize(("size", "found"), [(MOST_BODY_BYTES, GOOD), (MOST_BODY_BYTES + 1, Reason(Why.BODY))])
def test_only_the_first_64_kib_of_a_body_are_looked_at(size: int, found: Reason) -> None:
    with patient() as one:
        one.body = b"database: ok".rjust(size, b"x")
        assert ask(one.address, body="database: ok") == found
    assert MOST_BODY_BYTES == 64 * 1024


def test_a_host_that_takes_no_connection_is_a_timeout() -> None:
    with socket.socket() as listening, socket.socket() as first, socket.socket() as second:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for waiting in (first, second):  # the kernel's queue is full now, and answers nobody
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        for kind in ("tcp", "http"):
            assert ask(address, type=kind, timeout=50 * 10**6) == Reason(Why.TIMEOUT)


def test_the_request_is_small_names_its_sender_and_has_the_host_that_is_wanted() -> None:
    with patient() as one:
        ask(one.address, host="app.example.com")
        ask(one.address)
        first, second = one.heads
    assert first.startswith(b"GET /healthz HTTP/1.1\r\n")
    assert b"\r\nHost: app.example.com\r\n" in first
    assert b"\r\nUser-Agent: shardproxy-health-check\r\n" in first
    assert f"\r\nHost: {one.address}\r\n".encode() in second


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_nobody_there_is_refused(kind: str) -> None:
    assert ask(f"127.0.0.1:{free_port()}", type=kind) == Reason(Why.REFUSED)


def test_no_answer_is_a_timeout() -> None:
    with patient() as one:
        one.status = 0
        assert ask(one.address, timeout=50 * 10**6) == Reason(Why.TIMEOUT)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", b"\x00\x01\x02\r\n\r\n"])
def test_an_answer_that_is_none_is_broken(answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    with scripted_origin(talk) as address:
        assert ask(address, body="ok") == Reason(Why.BROKEN)


def test_connecting_is_enough_for_tcp_even_without_a_word() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert ask(f"127.0.0.1:{listening.getsockname()[1]}", type="tcp") == GOOD


def test_another_port_can_be_asked() -> None:
    with patient() as one:
        port = parse_address(one.address).port
        assert ask(f"127.0.0.1:{free_port()}", port=port) == GOOD


def test_a_unix_socket_is_asked_as_well(tmp_path: Path) -> None:
    with patient(tmp_path / "a.sock") as one:
        assert ask(one.address) == GOOD
        assert b"\r\nHost: localhost\r\n" in one.heads[0]
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "b.sock"))
        listening.listen()
        assert ask(f"unix:{tmp_path / 'b.sock'}", type="tcp") == GOOD
    for kind in ("http", "tcp"):
        assert ask(f"unix:{tmp_path / 'nobody.sock'}", type=kind) == Reason(Why.REFUSED)


def test_an_ipv6_address_is_asked_as_well() -> None:
    assert str(Address("::1", 1)) == "[::1]:1"
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:
        assert ask(f"[::1]:{listening.getsockname()[1]}", type="tcp") == GOOD
        assert ask(f"[::1]:{listening.getsockname()[1]}", timeout=50 * 10**6) == Reason(Why.TIMEOUT)


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_a_process_without_descriptors_does_not_blame_the_endpoint(
    kind: Any, loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "a.sock"))
        unix.listen()

        async def story() -> None:
            for address in (f"127.0.0.1:{tcp.getsockname()[1]}", f"unix:{tmp_path / 'a.sock'}"):
                check = HealthCheck(type=kind, path="/", timeout=2 * 10**9)
                with no_descriptors_left(), pytest.raises(OSError) as caught:
                    await probe_of(check, parse_address(address)).ask()
                assert caught.value.errno == errno.EMFILE

        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(story())


@pytest.mark.parametrize("number", [errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL])
def test_no_other_shortage_is_the_endpoints_either(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without memory or ports cannot be had in a test: the event loop says what it would say."""

    async def story() -> None:
        async def refuse(*_: object, **__: object) -> None:
            raise OSError(number, "x")

        monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", refuse)
        for kind in ("http", "tcp"):
            check = HealthCheck(type=kind, path="/", timeout=2 * 10**9)
            with pytest.raises(OSError) as caught:
                await probe_of(check, parse_address("127.0.0.1:9")).ask()
            assert caught.value.errno == number

    asyncio.run(story())


def test_a_timeout_that_comes_late_because_we_stood_still_says_nothing_of_the_endpoint() -> None:
    async def check(address: str, stall_s: float) -> Reason | None:
        probe = probe_of(HealthCheck(path="/healthz", timeout=10**8), parse_address(address))
        asking = asyncio.create_task(probe.ask())
        await asyncio.sleep(0.02)
        time.sleep(stall_s)  # what is tested is how long it stands still
        return await asking

    with patient() as one:
        one.status = 0
        assert asyncio.run(check(one.address, 0.0)) == Reason(Why.TIMEOUT)
        assert asyncio.run(check(one.address, 0.8)) is None
