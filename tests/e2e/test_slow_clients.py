"""Slow is not dead: who takes its bytes slowly keeps its connection; who takes none loses it, and fills no memory."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import psutil

from tests.proxykit import PATIENCE_S, eventually, origins, proxy, scripted_origin

CONFIGURATION = """
workers: 1
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    timeouts: {stream_idle: 400ms, idle: 400ms, request_body: 400ms, min_body_rate: 10KiB}
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - {name: app, endpoints: [ORIGIN]}
"""
BODY_BYTES = 12 << 20


async def large_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BODY_BYTES)
    writer.write(bytes(BODY_BYTES))
    await writer.drain()
    await reader.read()


def ask(port: int) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.settimeout(PATIENCE_S)
    client.connect(("127.0.0.1", port))
    client.sendall(b"GET / HTTP/1.1\r\nHost: slow.test\r\n\r\n")
    return client


def test_a_slow_reader_gets_all_of_a_body_that_takes_it_many_times_the_idle_timeout(tmp_path: Path) -> None:
    with (
        scripted_origin(large_answer) as origin,
        proxy(tmp_path, CONFIGURATION.replace("ORIGIN", origin)) as running,
        ask(running.port) as client,
    ):
        received, began = 0, time.monotonic()
        while received < BODY_BYTES:
            piece = client.recv(131072)
            assert piece, f"cut after {received} bytes"
            received += len(piece)
            time.sleep(0.02)  # this is the slowness, not a wait for something
        assert time.monotonic() - began > 1.2


def test_a_reader_that_stops_is_cut_and_its_origin_connection_with_it(tmp_path: Path) -> None:
    with (
        scripted_origin(large_answer) as origin,
        proxy(tmp_path, CONFIGURATION.replace("ORIGIN", origin)) as running,
        ask(running.port),
    ):
        eventually(lambda: running.stats()["faults"]["response_stalled"] == 1, "the stalled response to be cut")
        running.await_idle()
        eventually(lambda: next(iter(running.endpoints().values()))["connections"] == 0, "the origin's connection")


def test_a_client_that_pipelines_and_never_reads_gets_no_memory_for_it(tmp_path: Path) -> None:
    with origins(0) as addresses, proxy(tmp_path, CONFIGURATION.replace("ORIGIN", addresses[0])) as running:
        worker = psutil.Process(running.worker_pids()[0])
        before = worker.memory_info().rss
        requests = b"GET / HTTP/1.1\r\nHost: greedy.test\r\n\r\n" * 1000
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.setblocking(False)
            sent, quiet_since = 0, time.monotonic()
            while sent < 200 << 20 and time.monotonic() - quiet_since < 0.25:
                try:
                    sent += client.send(requests)
                    quiet_since = time.monotonic()
                except BlockingIOError:
                    time.sleep(0.01)
                except ConnectionResetError:
                    break
            assert worker.memory_info().rss - before < 16 << 20


def test_a_body_below_the_minimum_rate_is_refused_though_it_is_never_silent(tmp_path: Path) -> None:
    with (
        origins(0) as addresses,
        proxy(tmp_path, CONFIGURATION.replace("ORIGIN", addresses[0])) as running,
        socket.create_connection(("127.0.0.1", running.port), PATIENCE_S) as client,
    ):
        client.sendall(b"POST / HTTP/1.1\r\nHost: slow.test\r\nContent-Length: 100000\r\n\r\n")
        client.settimeout(0.05)
        answer = b""
        deadline = time.monotonic() + PATIENCE_S
        while not answer and time.monotonic() < deadline:
            client.sendall(b"x" * 10)
            try:
                answer = client.recv(65536)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"body_timeout" in answer


def test_requests_that_were_pipelined_before_the_client_closed_its_side_are_all_answered(tmp_path: Path) -> None:
    with origins(5) as addresses, proxy(tmp_path, CONFIGURATION.replace("ORIGIN", addresses[0])) as running:
        request = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
        with socket.create_connection(("127.0.0.1", running.port), PATIENCE_S) as client:
            client.sendall(request * 3)
            client.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := client.recv(65536):
                answer += piece
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 3


def test_a_client_that_pauses_in_its_body_is_not_held_against_the_endpoint(tmp_path: Path) -> None:
    patient = CONFIGURATION.replace("request_body: 400ms, min_body_rate: 10KiB", "request_body: 5s").replace(
        "cluster: app}", "cluster: app, timeout: 300ms}"
    )
    with origins(0) as addresses, proxy(tmp_path, patient.replace("ORIGIN", addresses[0])) as running:
        with socket.create_connection(("127.0.0.1", running.port), PATIENCE_S) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 8\r\n\r\nhalf")
            time.sleep(0.6)  # longer than the route's timeout: this is the pause
            client.sendall(b"half")
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert running.stats()["faults"]["response_timeout"] == 0
