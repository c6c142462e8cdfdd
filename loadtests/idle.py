"""What an idle client connection costs in memory: of each proxy's processes, the growth by 5 000 of them.

    .venv/bin/python -m loadtests.idle
    .venv/bin/python -m loadtests.idle --connections 1000 --proxy nginx --proxy shardproxy

Each connection has had one answer and is kept.  Memory is the proportional set size (PSS, /proc/PID/smaps_rollup), in
which a page that several processes share counts in parts; what the kernel keeps for a socket is left out.
"""

from __future__ import annotations

import argparse
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from loadtests import cpu
from loadtests.configurations import Site
from loadtests.processes import free_ports
from loadtests.proxies import USUAL, Proxy, start, start_origin

CONNECTIONS = 5000
LOOK_S, MOST_LOOKS, SETTLED_BYTES = 2.0, 10, 128 * 1024
REQUEST = b"GET /1k HTTP/1.1\r\nHost: load.test\r\n\r\n"


def pss_bytes(root: int) -> int:
    """Of a process and all below it."""
    texts = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in cpu.tree(root))
    return sum(1024 * int(kib) for text in texts for kib in re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE))


def settled_pss_bytes(root: int) -> int:
    """The same, once a program that has just started takes no more for itself; our controller needs seconds."""
    known = pss_bytes(root)
    for _ in range(MOST_LOOKS):
        time.sleep(LOOK_S)
        before, known = known, pss_bytes(root)
        if abs(known - before) < SETTLED_BYTES:
            break
    return known


@contextmanager
def idle_connections(port: int, count: int) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            connection.sendall(REQUEST)
            received = b""
            while b"\r\n\r\n" not in received or len(received.partition(b"\r\n\r\n")[2]) < 1024:
                received += connection.recv(65536)
        yield


def measure(proxy: Proxy, count: int, directory: Path) -> float:
    """Bytes a connection."""
    port, admin_port, *origins = free_ports(4)
    with ExitStack() as stack:
        stack.enter_context(start_origin(tuple(origins), directory / f"origin-{proxy.name}", 0))
        site = Site(port, admin_port, tuple(origins), ("/",), directory / proxy.name)
        running = stack.enter_context(start(proxy, site, None, "/1k"))
        with idle_connections(port, 100):  # what is made once, such as pools and freelists, is there now
            pass
        before = settled_pss_bytes(running.pid)
        with idle_connections(port, count):
            return (pss_bytes(running.pid) - before) / count


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--proxy", action="append", choices=[one.name for one in USUAL])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for each in USUAL:
            if not options.proxy or each.name in options.proxy:
                found = measure(each, options.connections, Path(folder))
                print(f"{each.name:11} {found:8.0f} bytes a connection", flush=True)
