"""Asking an admin interface that is not what it should be; the real one is asked in tests/e2e."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shardproxy.controller.admin.ask import NoAnswer, Outcome, ask, ask_stats, change
from tests.proxykit import free_port

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


@pytest.mark.parametrize("admin", ["127.0.0.1:80", "https://127.0.0.1:80", "http://", "http://[", "http://a:b", "ftp://a"])
def test_what_is_no_address_is_told_how_one_looks(admin: str) -> None:
    with pytest.raises(NoAnswer) as caught:
        ask(admin, "/live")
    assert str(caught.value) == f"{admin} is neither http://HOST:PORT nor unix:/PATH"


def test_each_problem_is_one_plain_sentence(asked: Callable[[bytes], str], tmp_path: Path) -> None:
    said = {
        b"SSH-2.0-OpenSSH_9\r\n": r"what answers at http://127.0.0.1:\d+ is not an admin interface",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n":
            r"http://127.0.0.1:\d+ answered 404 to /stats; is it the admin interface of a shardproxy\?",
        ok(b"[]"): r"http://127.0.0.1:\d+ is no shardproxy of this version: .+",
    }  # fmt: skip
    for answer, sentence in said.items():
        assert re.fullmatch(sentence, asked(answer))
    for admin, why in (
        (f"unix:{tmp_path}/no.sock", "No such file or directory"),
        (f"http://127.0.0.1:{free_port()}", "Connection refused"),
        ("http://" + "a" * 70 + ".test:80", "there can be no host of that name"),
    ):
        with pytest.raises(NoAnswer) as caught:
            ask(admin, "/live")
        assert str(caught.value) == f"no proxy answers at {admin}: {why}"


def test_the_request_is_the_one_that_is_wanted(tmp_path: Path) -> None:
    for method, patience in ((None, ()), ("POST", ("POST", 1.0))):
        with socket.socket(socket.AF_UNIX) as server:
            path = tmp_path / f"{method}.sock"
            server.bind(str(path))
            server.listen()
            heard = answering_and_hearing(server, ok(b"{}"))
            assert ask(f"unix:{path}", "/x?y=1", *patience) == (200, b"{}")
            assert heard().split(b"\r\n")[:2] == [f"{method or 'GET'} /x?y=1 HTTP/1.1".encode(), b"Host: localhost"]


def answering_and_hearing(server: socket.socket, said: bytes) -> Callable[[], bytes]:
    """Say `said` to the first who connects; what it has asked."""
    heard: list[bytes] = []

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            heard.append(connection.recv(4096))
            connection.sendall(said)

    server.settimeout(PATIENCE_S)
    thread = threading.Thread(target=serve)
    thread.start()

    def wait() -> bytes:
        thread.join(PATIENCE_S)
        return heard[0]

    return wait


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_silence_ends_with_the_patience_over_any_kind_of_socket(kind: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) as server:
        server.bind(str(tmp_path / "a.sock") if kind == "unix" else ("127.0.0.1", 0))
        server.listen()
        name = server.getsockname()
        admin = f"unix:{name}" if kind == "unix" else f"http://127.0.0.1:{name[1]}"
        with pytest.raises(NoAnswer) as caught:
            ask(admin, "/live", patience_s=0.05)
        assert str(caught.value) == f"{admin} has not answered /live within 0.05 s"


def test_a_refusal_without_a_word_is_not_done() -> None:
    assert Outcome() == Outcome(False, "")
