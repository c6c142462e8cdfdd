"""Asking an admin interface that is not what it should be; the real one is asked in tests/e2e."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shardproxy.controller.admin.ask import NoAnswer, Outcome, ask, ask_stats, change

PATIENCE_S = 5.0


@contextmanager
def answering(server: socket.socket, said: bytes) -> Iterator[None]:
    """A server that says `said` to the first who connects, and hangs up."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.settimeout(PATIENCE_S)
            connection.recv(4096)
            connection.sendall(said)

    server.settimeout(PATIENCE_S)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        thread.join(PATIENCE_S)


@pytest.fixture
def asked() -> Iterator[Callable[[bytes], str]]:
    """What `ask_stats` complains about when that is said."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def ask_it(said: bytes) -> str:
            with answering(server, said), pytest.raises(NoAnswer) as caught:
                ask_stats(f"http://127.0.0.1:{server.getsockname()[1]}")
            return str(caught.value)

        yield ask_it


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def test_another_protocol_is_no_admin_interface(asked: Callable[[bytes], str]) -> None:
    assert "is not an admin interface" in asked(b"SSH-2.0-OpenSSH_9\r\n")


def test_a_connection_that_is_hung_up_is_no_answer(asked: Callable[[bytes], str]) -> None:
    assert "no proxy answers" in asked(b"")


def test_another_web_server_is_recognised_by_its_status(asked: Callable[[bytes], str]) -> None:
    assert "answered 404 to /stats" in asked(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("body", [b"<html>", b'{"uptime_s": 1}', b"[]", b"\xff"])
def test_other_content_is_no_shardproxy(asked: Callable[[bytes], str], body: bytes) -> None:
    assert "no shardproxy of this version" in asked(ok(body))


def test_an_answer_that_is_cut_is_none(asked: Callable[[bytes], str]) -> None:
    assert asked(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")


def test_a_unix_socket_is_asked_as_well(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        with answering(server, ok(b"hello")):
            assert ask(f"unix:{path}", "/live") == (200, b"hello")


def test_one_that_does_not_answer_in_time_is_told_from_one_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        admin = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(NoAnswer) as caught:
            change(admin, "/reload", patience_s=0.1)
    assert str(caught.value) == f"{admin} has not answered /reload within 0.1 s"


def test_a_refusal_is_an_outcome_and_something_else_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        admin = f"http://127.0.0.1:{server.getsockname()[1]}"
        with answering(server, ok(b'{"status": 503, "reason": "x", "message": "not now"}')):
            assert change(admin, "/reload", PATIENCE_S) == Outcome(False, "not now")
        with answering(server, ok(b"<html>")), pytest.raises(NoAnswer, match="answered 200 to /reload"):
            change(admin, "/reload", PATIENCE_S)
