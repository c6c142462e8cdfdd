"""What shared counts are worth: least connection by several workers that know of each other, and by some that do not.

    .venv/bin/python -m loadtests.sharing              # about 4 minutes
    .venv/bin/python -m loadtests.sharing --seconds 5 --rounds 1

Eight endpoints, two of them five times slower, each with four places to work in and a queue before them; 64 clients
with requests at times and of sizes that were drawn before, the same for every proxy. What is told of each: the
latency from the moment a request was due (so that nothing is omitted when the proxy stalls), and the share of the
requests that the slow endpoints got.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median, quantiles

import uvloop

from loadtests.configurations import Site
from loadtests.processes import Running, free_ports
from loadtests.proxies import ENVOY, NGINX, SHARDPROXY, Proxy, start

CLIENTS = 64
REQUESTS_PER_S = 1500.0  # of all clients: 59 % of what the endpoints can do
QUICK_S, SLOW_S = 0.010, 0.050  # the mean work of a request
PLACES = 4
ENDPOINTS, SLOW_ENDPOINTS = 8, 2


class Endpoint:
    """Serves so many requests at a time, in the order in which they came; the work is told by `X-Work`."""

    def __init__(self, port: int, mean_s: float) -> None:
        self.answer = f"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{port:05}".encode()
        self.mean_s = mean_s
        self.places = asyncio.Semaphore(PLACES)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                work = float(head.split(b"x-work:")[1].split(b"\r\n")[0]) if b"x-work:" in head else 0.0
                async with self.places:
                    await asyncio.sleep(work * self.mean_s)
                writer.write(self.answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def serve_endpoints(ports: list[int]) -> None:
    for number, port in enumerate(ports):
        endpoint = Endpoint(port, SLOW_S if number < SLOW_ENDPOINTS else QUICK_S)
        await asyncio.start_server(endpoint.serve, "127.0.0.1", port)
    await asyncio.Event().wait()


def run_endpoints(ports: list[int]) -> None:
    uvloop.run(serve_endpoints(ports))


@contextmanager
def endpoints(ports: list[int]) -> Iterator[None]:
    process = multiprocessing.get_context("spawn").Process(target=run_endpoints, args=(ports,), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


@dataclass
class Run:
    """What the clients saw of one proxy."""

    latencies_ms: list[float] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)
    errors: int = 0


async def client(port: int, seed: int, seconds: float, run: Run) -> None:
    """One connection; requests at exponential intervals with exponential work, both from the seed."""
    dice = random.Random(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    loop = asyncio.get_running_loop()
    due = loop.time()
    until = due + seconds
    while (due := due + dice.expovariate(REQUESTS_PER_S / CLIENTS)) < until:
        work = dice.expovariate(1)
        await asyncio.sleep(max(0.0, due - loop.time()))
        writer.write(b"GET / HTTP/1.1\r\nHost: sharing.test\r\nX-Work: %.6f\r\n\r\n" % work)
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
        run.latencies_ms.append((loop.time() - due) * 1000)
        if head.startswith(b"HTTP/1.1 200"):
            run.answers[int(body)] += 1
        else:
            run.errors += 1
    writer.close()


async def offer(port: int, seed: int, seconds: float) -> Run:
    run = Run()
    await asyncio.gather(*(client(port, seed * CLIENTS + number, seconds, run) for number in range(CLIENTS)))
    return run


Starter = Callable[[ExitStack, Site], int]


def one(proxy: Proxy) -> Starter:
    def start_it(stack: ExitStack, site: Site) -> int:
        return stack.enter_context(start(proxy, site, None, "/")).pid

    return start_it


def strangers(stack: ExitStack, site: Site) -> int:
    """As many proxies of one worker each on one port, the kernel in between: nobody knows of the others' requests."""
    first: Running | None = None
    for number in range(site.workers):
        (admin_port,) = free_ports(1)
        own = replace(site, workers=1, admin_port=admin_port, directory=site.directory / str(number))
        running = stack.enter_context(start(SHARDPROXY, own, None, "/"))
        first = first or running
    assert first is not None
    return first.pid


FOUR_THREADS = replace(ENVOY, arguments=tuple("4" if part == "1" else part for part in ENVOY.arguments))
CONTESTANTS: dict[str, tuple[int, bool, Starter]] = {
    "shardproxy, 1 worker": (1, False, one(SHARDPROXY)),
    "shardproxy, 4 workers": (4, False, one(SHARDPROXY)),
    "4 strangers of 1 worker": (4, False, strangers),
    "Envoy, 4 threads": (4, False, one(FOUR_THREADS)),
    "nginx, 4 workers, zone": (4, True, one(NGINX)),
    "nginx, 4 workers, no zone": (4, False, one(NGINX)),
}


def measure(name: str, ports: tuple[int, ...], directory: Path, seed: int, seconds: float) -> Run:
    """A fresh proxy for each run, so that each round spreads its connections over the workers anew."""
    workers, zone, starter = CONTESTANTS[name]
    port, admin_port = free_ports(2)
    site = Site(port, admin_port, ports, ("/",), directory / name.replace(" ", "-") / str(seed), workers, zone)
    with ExitStack() as stack:
        starter(stack, site)
        return uvloop.run(offer(port, seed, seconds))


def line(name: str, runs: list[Run], slow: set[int]) -> str:
    cuts = [quantiles(run.latencies_ms, n=100) for run in runs]
    share = [100 * sum(run.answers[port] for port in slow) / run.answers.total() for run in runs]
    requests, errors = sum(len(run.latencies_ms) for run in runs), sum(run.errors for run in runs)
    return (
        f"{name:28} {requests:8} {errors:7} {median(cut[49] for cut in cuts):9.1f} ms"
        f" {median(cut[98] for cut in cuts):9.1f} ms {median(share):9.2f} %"
    )


def main(rounds: int, seconds: float) -> None:
    ports = tuple(free_ports(ENDPOINTS))
    runs: dict[str, list[Run]] = {name: [] for name in CONTESTANTS}
    with tempfile.TemporaryDirectory() as directory, endpoints(list(ports)):
        for seed in range(rounds):
            for name, own in runs.items():
                own.append(measure(name, ports, Path(directory), seed, seconds))
                print(f"{seed + 1}/{rounds} {line(name, own[-1:], set(ports[:SLOW_ENDPOINTS]))}", flush=True)
    print(f"\n{'medians':28} {'requests':>8} {'errors':>7} {'p50':>12} {'p99':>12} {'to slow ones':>12}")
    for name, own in runs.items():
        print(line(name, own, set(ports[:SLOW_ENDPOINTS])))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=12)
    options = parser.parse_args()
    main(options.rounds, options.seconds)
