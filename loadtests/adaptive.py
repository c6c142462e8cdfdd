"""What an adaptive limit is worth: an origin with so many places to work in gets three times what it can do.

    .venv/bin/python -m loadtests.adaptive

For 20 s with `adaptive`, and without; after 10 s half of the origin's places go. Told for every second: goodput as a
share of what the origin could do, the p99 of what was answered, and the limit. `--json FILE` keeps it all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

from loadtests.paced import Answers, offer
from loadtests.processes import Running, answers, free_ports
from loadtests.proxies import SHARDPROXY

PLACES, WORK_S = 10, 0.02
CAPACITY = PLACES / WORK_S
SECONDS, HALVED_AT_S = 20.0, 10.0
CONFIGURATION = """
workers: 4
admin: {{bind: "127.0.0.1:{admin}"}}
drain_timeout: 1s
log: {{level: warning}}
listeners:
  - {{bind: "127.0.0.1:{port}", routes: [{{match: {{prefix: /}}, cluster: app, timeout: 60s}}]}}
clusters:
  - {{name: app, endpoints: ["127.0.0.1:{origin}"]{adaptive}}}
"""


class Origin:
    """Works on `PLACES` requests at a time, in the order in which they came, later on half as many."""

    def __init__(self, places: int, work_s: float) -> None:
        self.work_s = work_s
        self.places = asyncio.Semaphore(places)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                async with self.places:
                    await asyncio.sleep(self.work_s)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def run_origin(port: int, places: int, work_s: float, halved: Any) -> None:
    origin = Origin(places, work_s)
    await asyncio.start_server(origin.serve, "127.0.0.1", port, backlog=4096)
    while not halved.is_set():
        await asyncio.sleep(0.02)
    for _ in range(places // 2):
        await origin.places.acquire()
    await asyncio.Event().wait()


def origin_main(port: int, places: int, work_s: float, halved: Any) -> None:
    uvloop.run(run_origin(port, places, work_s, halved))


@contextmanager
def bounded_origin(port: int, places: int = PLACES, work_s: float = WORK_S) -> Iterator[Any]:
    """The origin in a process of its own; what is given is an event that halves it."""
    context = multiprocessing.get_context("spawn")
    halved = context.Event()
    process = context.Process(target=origin_main, args=(port, places, work_s, halved), daemon=True)
    process.start()
    try:
        yield halved
    finally:
        process.kill()
        process.join()


async def run(port: int, admin: int, halved: Any, seconds: float, rate: float) -> tuple[Answers, list[int | None]]:
    """The answers, and the limit at the end of every second."""
    limits: list[int | None] = []
    offering = asyncio.create_task(offer(port, rate, seconds, clients=400))
    for second in range(1, int(seconds) + 1):
        await asyncio.sleep(1)
        limits.append(await asyncio.to_thread(limit_now, admin))
        if second == HALVED_AT_S:
            halved.set()
    return await offering, limits


def limit_now(admin: int) -> int | None:
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/stats", timeout=10) as answer:
        found: int | None = json.load(answer)["clusters"]["app"]["adaptive_limit"]
        return found


def measure(name: str, adaptive: str, seconds: float) -> list[dict[str, float | None]]:
    port, admin, origin = free_ports(3)
    with tempfile.TemporaryDirectory() as directory, bounded_origin(origin) as halved:
        file = Path(directory, "shardproxy.yaml")
        file.write_text(CONFIGURATION.format(port=port, admin=admin, origin=origin, adaptive=adaptive))
        command = [SHARDPROXY.binary(), "-m", "shardproxy", "run", str(file)]
        with Running("shardproxy", command, None, Path(directory, "output.log")) as running:
            running.wait_until(lambda: answers(port, "/"))
            seen, limits = uvloop.run(run(port, admin, halved, seconds, 3 * CAPACITY))
    print(f"\n{name}: offered {3 * CAPACITY:.0f}/s to an origin that can do {CAPACITY:.0f}/s, then half of that")
    print("second  goodput  of capacity      p50      p99  refused/s  limit")
    return [line(seen, second, limits[second]) for second in range(int(seconds))]


def line(seen: Answers, second: int, limit: int | None) -> dict[str, float | None]:
    """One second of the run, printed and as numbers."""
    until, capacity = second + 1, CAPACITY / (2 if second >= HALVED_AT_S else 1)
    goodput, refused = seen.rate(200, second, until), seen.rate(503, second, until)
    p50, p99 = seen.quantile(0.5, second, until), seen.quantile(0.99, second, until)
    told = f"{1000 * p50:6.0f} ms {1000 * p99:6.0f} ms  {refused:9.0f}  {'-' if limit is None else limit}"
    print(f"{until:6}  {goodput:5.0f}/s  {goodput / capacity:11.0%}  {told}", flush=True)
    return {"second": until, "goodput": goodput, "p99_s": p99, "refused": refused, "limit": limit}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {
        name: measure(name, adaptive, options.seconds)
        for name, adaptive in (("adaptive", ", adaptive: {policy: gradient}"), ("without", ""))
    }
    if options.json:
        options.json.write_text(json.dumps(found))
