"""Slow clients against quick ones: does a crowd that drips its request heads change what others see?

    .venv/bin/python -m loadtests.slowloris --port 8080 --slow 5000

Three phases of the same paced requests: alone, beside the slow connections, alone again; p50 and p99 of each.
The slow ones send a byte of their head every few seconds and never finish it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from statistics import quantiles

import uvloop

CLIENTS = 20
REQUESTS_PER_S = 25  # of each client, whatever the answers take: no coordinated omission
DRIP_S = 2.0
HEAD = b"GET / HTTP/1.1\r\nHost: slow.test\r\nX-Slow: " + b"a" * 4096


@dataclass
class Phase:
    name: str
    latencies_ms: list[float]
    errors: int = 0

    def line(self) -> str:
        cuts = quantiles(self.latencies_ms, n=100)
        return (
            f"{self.name:28} {len(self.latencies_ms):6} requests  {self.errors:3} errors"
            f"  p50 {cuts[49]:6.2f} ms  p99 {cuts[98]:6.2f} ms"
        )


async def paced_client(port: int, phase: Phase, until: float, offset_s: float) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    due = time.monotonic() + offset_s
    while due < until:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        writer.write(b"GET / HTTP/1.1\r\nHost: quick.test\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
        phase.latencies_ms.append((time.monotonic() - due) * 1000)
        phase.errors += not head.startswith(b"HTTP/1.1 200")
        due += 1 / REQUESTS_PER_S
    writer.close()


async def measure(name: str, port: int, seconds: float) -> Phase:
    phase = Phase(name, [])
    until = time.monotonic() + seconds
    step_s = 1 / REQUESTS_PER_S / CLIENTS
    await asyncio.gather(*(paced_client(port, phase, until, step_s * number) for number in range(CLIENTS)))
    print(phase.line(), flush=True)
    return phase


class SlowClient(asyncio.Protocol):
    """Drips a head, a byte at a time; connects again when the proxy has had enough of it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sent = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.drip()

    def drip(self) -> None:
        if self.transport is not None:
            self.transport.write(HEAD[self.sent : self.sent + 1])
            self.sent += 1
            asyncio.get_running_loop().call_later(DRIP_S, self.drip)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        asyncio.get_running_loop().create_task(connect(self.port))


async def connect(port: int) -> None:
    with contextlib.suppress(OSError):
        await asyncio.get_running_loop().create_connection(lambda: SlowClient(port), "127.0.0.1", port)


async def crowd(port: int, size: int, ready: Event) -> None:
    for number in range(size):
        await connect(port)
        if number % 20 == 0:
            await asyncio.sleep(0.005)
    ready.set()
    await asyncio.sleep(600)


def run_crowd(port: int, size: int, ready: Event) -> None:
    uvloop.run(crowd(port, size, ready))


@contextlib.contextmanager
def slow_crowd(port: int, size: int) -> Iterator[None]:
    """A process of its own, so that it is not what disturbs the measurement."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=run_crowd, args=(port, size, ready))
    process.start()
    try:
        ready.wait(60)
        yield
    finally:
        process.kill()
        process.join()


def main(port: int, slow: int, seconds: float) -> None:
    uvloop.run(measure("alone", port, seconds))
    with slow_crowd(port, slow):
        uvloop.run(measure(f"beside {slow} slow ones", port, seconds))
    uvloop.run(measure("alone again", port, seconds))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--slow", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=8)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    main(arguments.port, arguments.slow, arguments.seconds)
