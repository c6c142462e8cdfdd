"""What a limit over two machines holds: two proxies, one Redis, at least ten times the demand; the Redis stops for 5 s.

    .venv/bin/python -m loadtests.shared_limit              # about a minute; needs wrk and redis-server

For each `on_store_failure`: 6 s, then 5 s in which the Redis is stopped (SIGSTOP), then 5 s more. Told for every
second: what was offered and admitted, at both proxies together; and at the end what the slowest request took.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from loadtests.adaptive import bounded_origin
from loadtests.processes import Running, free_ports
from loadtests.proxies import SHARDPROXY

RATE, BURST = 1000, 1000
SECONDS, STOPPED_S, GOES_ON_S = 16, 6, 11
CONNECTIONS = 16
CONFIGURATION = """
workers: 2
admin: {{bind: "127.0.0.1:{admin}"}}
drain_timeout: 1s
log: {{level: warning}}
listeners:
  - {{bind: "127.0.0.1:{port}", routes: [{{match: {{prefix: /}}, cluster: app, rate_limits: [all]}}]}}
clusters:
  - {{name: app, endpoints: ["127.0.0.1:{origin}"]}}
rate_limits:
  - {{name: all, rate: {rate}/s, burst: {burst}, store: "redis://127.0.0.1:{redis}", on_store_failure: {failure}}}
"""


@dataclass(frozen=True)
class Count:
    """What a proxy has done so far, or two of them together."""

    at_s: float
    admitted: int
    refused: int
    state: str

    def __add__(self, other: Count) -> Count:
        return Count(self.at_s, self.admitted + other.admitted, self.refused + other.refused, self.state)


def count(admin: int) -> Count | None:
    """None while it does not share the limit with another."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/stats", timeout=10) as answer:
            limit = json.load(answer)["rate_limits"]["all"]
    except OSError:
        return None
    if limit["store"]["machines"] < 2:
        return None
    return Count(time.monotonic(), limit["admitted"], limit["refused"], limit["store"]["state"])


def both(admins: Sequence[int]) -> Count:
    one, other = (count(admin) for admin in admins)
    assert one is not None and other is not None, "a proxy is gone"
    return one + other


def measure(failure: str) -> None:
    ports, admins, (origin, redis) = free_ports(2), free_ports(2), free_ports(2)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(bounded_origin(origin, 1000, 0.0))
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(redis), "--save", "", "--dir", str(folder)]
        store = stack.enter_context(Running("redis", command, None, folder / "redis.log"))
        store.wait_until(lambda: _listens(redis))
        for port, admin in zip(ports, admins, strict=True):
            file = folder / f"{port}.yaml"
            ends = {"port": port, "admin": admin, "origin": origin, "redis": redis}
            file.write_text(CONFIGURATION.format(**ends, rate=RATE, burst=BURST, failure=failure))
            run = [SHARDPROXY.binary(), "-m", "shardproxy", "run", str(file)]
            stack.enter_context(Running(f"proxy {port}", run, None, folder / f"{port}.log"))
        store.wait_until(lambda: all(count(admin) for admin in admins))
        show(failure, *press(ports, admins, store.pid))


def press(ports: Sequence[int], admins: Sequence[int], redis: int) -> tuple[list[Count], list[str]]:
    """The counts of every second, and what the two wrk say."""
    wrk = ["wrk", "--latency", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s"]
    started = [
        subprocess.Popen([*wrk, f"http://127.0.0.1:{port}/"], stdout=subprocess.PIPE, text=True) for port in ports
    ]
    counts = [both(admins)]
    for second in range(1, SECONDS):
        time.sleep(max(0.0, counts[0].at_s + second - time.monotonic()))
        counts.append(both(admins))
        if second in (STOPPED_S, GOES_ON_S):
            os.kill(redis, signal.SIGSTOP if second == STOPPED_S else signal.SIGCONT)
    return counts, [each.communicate(timeout=30)[0] for each in started]


def show(failure: str, counts: Sequence[Count], told: Sequence[str]) -> None:
    print(f"\n{failure}: {RATE}/s and {BURST} at once, shared by two proxies")
    print("second   offered  admitted  store")
    for second, (before, now) in enumerate(pairwise(counts), 1):
        took, admitted = now.at_s - before.at_s, now.admitted - before.admitted
        offered = admitted + now.refused - before.refused
        stopped = ", stopped" if STOPPED_S < second <= GOES_ON_S else ""
        print(f"{second:6}  {offered / took:6.0f}/s  {admitted / took:6.0f}/s  {now.state}{stopped}")
    first, last = counts[0], counts[STOPPED_S]
    ideal = RATE * (last.at_s - first.at_s) + BURST
    admitted = last.admitted - first.admitted
    print(f"until it stopped: {admitted} admitted, {ideal:.0f} ideal: {100 * (admitted / ideal - 1):+.2f} %")
    slowest = re.findall(r"Latency +[\d.]+\w+ +[\d.]+\w+ +(\S+)", " ".join(told))
    print("slowest request: " + ", ".join(slowest), flush=True)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("failures", nargs="*", default=["local", "open", "closed"])
    for program in ("wrk", "redis-server"):
        if shutil.which(program) is None:
            parser.error(f"{program} is not installed")
    for name in parser.parse_args().failures:
        measure(name)
