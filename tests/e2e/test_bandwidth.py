"""Bandwidth limits through the real proxy: exact from above at every moment, even, and over all its workers.

What arrives is compared with rate * time + burst at each read, which holds however slow the machine is; how quickly
it arrives is only asserted generously.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tests.proxykit import PATIENCE_S, ROOT, Proxy, eventually, origins, proxy, scripted_origin

KIB, MIB = 1 << 10, 1 << 20
RATE, BURST = MIB, MIB // 10
SLOWEST = 3  # times the ideal: what a busy machine may make of it

CONFIGURATION = """
workers: 4
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    timeouts: {stream_idle: 1s, request_body: 1s, min_body_rate: 512KiB}
    routes:
      - {match: {prefix: /connection}, cluster: app, bandwidth_limits: [each-connection]}
      - {match: {prefix: /key}, cluster: app, bandwidth_limits: [each-key]}
      - {match: {prefix: /all}, cluster: app, bandwidth_limits: [all, each-connection]}
      - {match: {prefix: /slow}, cluster: app, bandwidth_limits: [slow]}
      - {match: {prefix: /fast}, cluster: app, bandwidth_limits: [fast]}
      - {match: {prefix: /tunnel}, cluster: app, upgrade: [echo], bandwidth_limits: [each-connection]}
      - {match: {prefix: /dry}, cluster: app, bandwidth_limits: [dry]}
clusters:
  - {name: app, endpoints: [ORIGIN]}
bandwidth_limits:
  - {name: each-connection, down: 1MiB/s, up: 1MiB/s, per_connection: true}
  - {name: each-key, down: 1MiB/s, up: 1MiB/s, key: {header: X-Key}}
  - {name: all, down: 2MiB/s}
  - {name: slow, down: 32KiB/s, up: 32KiB/s, per_connection: true}
  - {name: fast, down: 64MiB/s, per_connection: true}
  - {name: dry, down: 64KiB/s, key: {header: X-Key}, dry_run: true}
"""


def body(size: int) -> bytes:
    """That no two pieces of which are alike."""
    return b"".join(number.to_bytes(8, "big") for number in range(size // 8))


async def origin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """`/.../length/N`, `/.../chunked/N`, `/.../close/N`, `/.../cut/N`: N bytes, so framed; for a body its hash."""
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        kind, size = head.split()[1].decode().split("/")[-2:]
        if b"upgrade: echo" in head:
            await echo(reader, writer)
            return
        if head.startswith(b"post"):
            await digest(reader, writer, head)
            continue
        content = body(int(size))
        if kind == "chunked":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(content), 1000):
                piece = content[at : at + 1000]
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            writer.write(b"0\r\n\r\n")
        elif kind == "close":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + content)
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content))
            writer.write(content if kind == "length" else content[:-8])
        await writer.drain()
        if kind in ("close", "cut"):
            return


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()


async def digest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
    found = hashlib.sha256()
    if b"chunked" in head:
        while size := int(await reader.readline(), 16):
            found.update((await reader.readexactly(size + 2))[:-2])
        await reader.readline()
    else:
        found.update(await reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0])))
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + found.hexdigest().encode())


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    directory = tmp_path_factory.mktemp("bandwidth")
    with scripted_origin(origin) as address, proxy(directory, CONFIGURATION.replace("ORIGIN", address)) as started:
        yield started


@pytest.fixture(autouse=True)
def nothing_is_left(running: Proxy) -> Iterator[None]:
    """After each test: no flow is waiting, no request under way."""
    yield
    eventually(lambda: not any(waiting(running)), "nobody to be held back")
    running.await_idle()


def waiting(running: Proxy) -> list[int]:
    limits = running.stats()["bandwidth_limits"].values()
    return [limit[way]["waiting"] for limit in limits for way in ("down", "up") if limit[way]]


@dataclass
class Download:
    """What came, and when: moments since the request, each with the bytes until then."""

    content: bytes
    arrivals: list[tuple[float, int]]

    @property
    def seconds(self) -> float:
        return self.arrivals[-1][0]

    @property
    def longest_gap(self) -> float:
        return max(after - before for (before, _), (after, _) in pairwise(self.arrivals))


def download(running: Proxy, path: str, **fields: str) -> Download:
    lines = [f"GET {path} HTTP/1.1", "Host: a", "Connection: close", *(f"X-{k}: {v}" for k, v in fields.items())]
    with socket.create_connection(("127.0.0.1", running.port), PATIENCE_S) as client:
        started = time.monotonic()
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        got, arrivals = bytearray(), [(0.0, 0)]
        while piece := client.recv(MIB):
            got += piece
            arrivals.append((time.monotonic() - started, len(got)))
    head, _, content = bytes(got).partition(b"\r\n\r\n")
    before = len(head) + 4
    content = unchunked(content) if b"chunked" in head.lower() else content
    return Download(content, [(moment, max(0, count - before)) for moment, count in arrivals])


def unchunked(raw: bytes) -> bytes:
    content, at = bytearray(), 0
    while size := int(raw[at : (end := raw.index(b"\r\n", at))], 16):
        content += raw[end + 2 : end + 2 + size]
        at = end + size + 4
    return bytes(content)


def excess(arrivals: list[tuple[float, int]], rate: int, burst: int) -> float:
    """The most bytes by which what has arrived was ahead of the limit; chunks' framing, a percent, is not counted."""
    return max(count / 1.01 - rate * moment - burst for moment, count in arrivals)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_download_keeps_to_the_rate_at_every_moment_and_is_even(running: Proxy, framing: str) -> None:
    got = download(running, f"/connection/{framing}/{2 * MIB}")
    assert got.content == body(2 * MIB)
    assert excess(got.arrivals, RATE, BURST) <= 0
    ideal = (2 * MIB - BURST) / RATE
    assert ideal <= got.seconds < SLOWEST * ideal
    assert got.longest_gap < 0.5, "50 ms when nothing else runs"


def test_a_slow_limit_does_not_trip_the_timeout_of_silent_responses(running: Proxy) -> None:
    """`stream_idle` is 1 s; the endpoint, which has sent all of it at once, is not read from for 4 s."""
    got = download(running, f"/slow/length/{128 * KIB}")
    assert got.content == body(128 * KIB)
    assert excess(got.arrivals, 32 * KIB, 4 * KIB) <= 0


def test_connections_of_one_key_share_its_rate_over_all_workers_and_evenly(running: Proxy) -> None:
    started = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda _: download(running, f"/key/length/{512 * KIB}", Key="one"), range(4)))
    seconds = time.monotonic() - started
    assert all(each.content == body(512 * KIB) for each in got)
    ideal = (2 * MIB - BURST) / RATE
    assert ideal <= seconds < SLOWEST * ideal
    assert min(each.seconds for each in got) > ideal / 3, "none has it all to itself"
    assert sum(worker["requests"] > 0 for worker in running.stats()["workers"]) > 1


def test_another_key_has_a_rate_of_its_own(running: Proxy) -> None:
    with ThreadPoolExecutor(2) as pool:
        got = list(pool.map(lambda key: download(running, f"/key/length/{MIB}", Key=key), ("two", "three")))
    assert all(excess(each.arrivals, RATE, BURST) <= 0 for each in got)
    assert sum(each.seconds for each in got) / 2 < 1.7, "together they would take 1.9 s"
    keys = running.stats()["bandwidth_limits"]["each-key"]["down"]["keys"]
    assert keys["capacity"] == 65536 and keys["evictions"] == 0


def test_a_request_without_the_key_is_not_limited(running: Proxy) -> None:
    assert download(running, f"/key/length/{4 * MIB}").seconds < 2


def test_all_limits_of_a_route_hold(running: Proxy) -> None:
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda _: download(running, f"/all/length/{MIB}"), range(4)))
    assert all(excess(each.arrivals, RATE, BURST) <= 0 for each in got)
    assert max(each.seconds for each in got) >= (4 * MIB - 2 * BURST) / (2 * RATE)


def test_many_small_responses_of_a_connection_are_limited_together(running: Proxy) -> None:
    client = http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE_S)
    started, arrivals = time.monotonic(), []
    for number in range(1, 65):
        client.request("GET", f"/connection/length/{16 * KIB}")
        assert client.getresponse().read() == body(16 * KIB)
        arrivals.append((time.monotonic() - started, number * 16 * KIB))
    client.close()
    assert excess(arrivals, RATE, BURST) <= 0
    assert arrivals[-1][0] < 3


@pytest.mark.parametrize("framing", ["Content-Length", "Transfer-Encoding"])
def test_an_upload_keeps_to_the_rate_and_arrives_whole(running: Proxy, framing: str) -> None:
    content = body(2 * MIB)
    pieces = iter([content[at : at + 5000] for at in range(0, len(content), 5000)])
    client = http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE_S)
    started = time.monotonic()
    fields = {} if framing == "Transfer-Encoding" else {framing: str(len(content))}
    client.request("POST", "/connection/digest/0", content if fields else pieces, fields, encode_chunked=not fields)
    found = client.getresponse().read().decode()
    client.close()
    ideal = (2 * MIB - BURST) / RATE
    assert found == hashlib.sha256(content).hexdigest()
    assert ideal <= time.monotonic() - started < SLOWEST * ideal


def test_an_upload_that_we_hold_back_is_not_too_slow_for_the_least_rate(running: Proxy) -> None:
    """`min_body_rate` is 512 KiB/s after 1 s; this one comes as fast as we let it, at 32 KiB/s for 4 s."""
    content = body(128 * KIB)
    client = http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE_S)
    client.request("POST", "/slow/digest/0", content)
    answer = client.getresponse()
    assert (answer.status, answer.read().decode()) == (200, hashlib.sha256(content).hexdigest())
    client.close()


def test_a_tunnel_is_limited_both_ways_and_closes_when_all_is_through(running: Proxy) -> None:
    content, head = body(MIB), b"GET /tunnel/echo/0 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
    with socket.create_connection(("127.0.0.1", running.port), PATIENCE_S) as client:
        client.sendall(head)
        assert client.recv(65536).startswith(b"HTTP/1.1 101 ")
        started, got, arrivals = time.monotonic(), bytearray(), []
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(send_all_and_no_more, client, content)
            while piece := client.recv(MIB):
                got += piece
                arrivals.append((time.monotonic() - started, len(got)))
            sent.result(PATIENCE_S)
    assert bytes(got) == content
    assert excess(arrivals, RATE, BURST) <= 0


def test_a_client_that_stops_reading_for_a_while_gets_everything(running: Proxy) -> None:
    with small_window(running, f"/fast/length/{16 * MIB}") as client:
        eventually(lambda: queued(client) > 0, "the first bytes")
        time.sleep(0.4)  # it takes nothing meanwhile: that is the case
        got = bytearray()
        while piece := client.recv(65536):
            got += piece
    assert bytes(got).partition(b"\r\n\r\n")[2] == body(16 * MIB)


def test_a_client_that_reads_no_more_is_given_up_and_nothing_leaks(running: Proxy) -> None:
    before = running.stats()["faults"]["response_stalled"]
    with small_window(running, f"/fast/close/{16 * MIB}"):
        eventually(lambda: running.stats()["faults"]["response_stalled"] > before, "the stalled response cut")
        assert not any(waiting(running))


def test_a_client_that_goes_away_while_it_is_held_back_leaves_nothing(running: Proxy) -> None:
    with ThreadPoolExecutor(8) as pool, contextlib.ExitStack() as stack:
        clients = list(pool.map(lambda _: small_window(running, f"/slow/length/{MIB}"), range(8)))
        for client in clients:
            stack.enter_context(client)
        eventually(lambda: running.stats()["bandwidth_limits"]["slow"]["down"]["waiting"] == 8, "eight held back")
    eventually(lambda: not any(waiting(running)), "all of them forgotten")
    eventually(lambda: not any(w["connections"] for w in running.stats()["workers"]), "their connections closed")


def test_a_response_that_breaks_off_is_not_made_whole(running: Proxy) -> None:
    lines = f"GET /connection/cut/{MIB} HTTP/1.1\r\nHost: a\r\n\r\n"
    with socket.create_connection(("127.0.0.1", running.port), PATIENCE_S) as client:
        client.sendall(lines.encode())
        with pytest.raises(ConnectionResetError):
            while client.recv(MIB):
                pass


def test_a_dry_limit_only_counts(running: Proxy) -> None:
    assert download(running, f"/dry/length/{2 * MIB}", Key="dry").seconds < 1.5
    limit = running.stats()["bandwidth_limits"]["dry"]
    assert limit["dry_run"] and limit["up"] is None
    assert limit["down"]["passed_bytes"] == 2 * MIB
    assert 2 * MIB * 0.9 < limit["down"]["held_bytes"] <= 2 * MIB
    assert limit["down"]["waited_s"] == 0


def test_stats_tell_what_was_held_back_and_for_how_long(running: Proxy) -> None:
    def numbers() -> tuple[int, int, float]:
        found = running.stats()["bandwidth_limits"]["each-connection"]["down"]
        return found["passed_bytes"], found["held_bytes"], found["waited_s"]

    before = numbers()
    download(running, f"/connection/length/{MIB}")
    passed, held, waited = (after - former for after, former in zip(numbers(), before, strict=True))
    assert passed == MIB
    assert MIB / 2 < held < MIB
    assert 0.5 < waited < SLOWEST


def test_a_reload_changes_the_rate_of_what_comes_then_and_cuts_nothing(tmp_path: Path) -> None:
    with scripted_origin(origin) as address, proxy(tmp_path, CONFIGURATION.replace("ORIGIN", address)) as started:
        file = next(tmp_path.glob("proxy-*.yaml"))
        with ThreadPoolExecutor(1) as pool:
            former = pool.submit(download, started, f"/connection/length/{2 * MIB}")
            eventually(lambda: any(waiting(started)), "it to be held back")
            file.write_text(file.read_text().replace("down: 1MiB/s", "down: 100MiB/s"))
            started.process.send_signal(signal.SIGHUP)
            eventually(lambda: started.stats()["version"] == 2, "the change over")
            assert download(started, f"/connection/length/{2 * MIB}").seconds < 1
            got = former.result(PATIENCE_S)
        assert got.content == body(2 * MIB)
        assert excess(got.arrivals, RATE, BURST) <= 0


def test_a_worker_that_is_killed_while_it_holds_back_leaves_nothing_behind(tmp_path: Path) -> None:
    with scripted_origin(origin) as address, proxy(tmp_path, CONFIGURATION.replace("ORIGIN", address)) as started:
        with small_window(started, f"/slow/length/{MIB}"):
            eventually(lambda: any(waiting(started)), "it to be held back")
            [busy] = [worker["pid"] for worker in started.stats()["workers"] if worker["active"]]
            os.kill(busy, signal.SIGKILL)
            eventually(lambda: not any(waiting(started)), "its flows forgotten")
        assert download(started, f"/connection/length/{64 * KIB}").content == body(64 * KIB)


def test_the_example_works(tmp_path: Path) -> None:
    text = (ROOT / "configs" / "bandwidth.yaml").read_text().replace("127.0.0.1:8080", "127.0.0.1:PORT")
    with origins(0) as addresses, proxy(tmp_path, text.replace("127.0.0.1:9001", addresses[0])) as started:
        for path in ("/downloads/a", "/uploads/a", "/"):
            client = http.client.HTTPConnection("127.0.0.1", started.port, timeout=PATIENCE_S)
            client.request("POST", path, b"x" * 100_000)
            assert client.getresponse().status == 200
            client.close()
        limits = started.stats()["bandwidth_limits"]
        assert limits["uploads"]["up"]["passed_bytes"] == 100_000
        assert limits["each-client"]["down"]["keys"]["occupied"] <= 1


def small_window(running: Proxy, path: str) -> socket.socket:
    """A client that has asked for much and can hold little."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * KIB)
    client.settimeout(PATIENCE_S)
    client.connect(("127.0.0.1", running.port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    return client


def send_all_and_no_more(client: socket.socket, content: bytes) -> None:
    client.sendall(content)
    client.shutdown(socket.SHUT_WR)


def queued(client: socket.socket) -> int:
    return len(client.recv(65536, socket.MSG_PEEK))
