"""A story that runs in a network of its own, with four local ports: `python -m tests.e2e.few_ports DIRECTORY`."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

from tests.e2e.peers import OK, Client, recording_origin, says_when
from tests.proxykit import proxy

NOT_PERMITTED = 77  # the exit code
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP_AND_RUNNING = 0x41
PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
CONFIGURATION = """
workers: 1
listeners:
  - bind: 127.0.0.1:PORT
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - name: app
    endpoints: [ORIGIN]
    outlier_detection: {consecutive_5xx: 1, base_ejection_time: 1h}
"""
PORTS, REQUESTS = 4, 7


def enter_network_of_its_own() -> None:
    """With the loopback interface up; leaves the program when that is not permitted."""
    if ctypes.CDLL(None).unshare(CLONE_NEWNET) != 0:
        sys.exit(NOT_PERMITTED)
    with socket.socket() as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP_AND_RUNNING))


def tell(directory: Path) -> None:
    gate = threading.Event()
    with recording_origin() as origin, ExitStack() as stack:
        origin.plays["/held"] = says_when(gate, OK)
        running = stack.enter_context(proxy(directory, CONFIGURATION.replace("ORIGIN", origin.address)))
        clients = [stack.enter_context(Client(running.port)) for _ in range(REQUESTS)]
        PORT_RANGE.write_text(f"62000 {62000 + PORTS - 1}")
        for client in clients:
            client.send("GET /held HTTP/1.1")
        answers = [client.read() for client in clients[PORTS:]]
        assert [answer.status for answer in answers] == [503] * (REQUESTS - PORTS)
        assert {tuple(answer.values("x-shardproxy-reason")) for answer in answers} == {("no_resources",)}
        gate.set()
        assert [client.read().status for client in clients[:PORTS]] == [200] * PORTS
        assert [client.get("/again").status for client in clients] == [200] * REQUESTS
        (endpoint,) = running.endpoints().values()
        assert (endpoint["failures"], endpoint["health"]["state"]) == (0, "unchecked")
        assert "net.ipv4.ip_local_port_range: 62000 to 62003" in running.log


if __name__ == "__main__":
    enter_network_of_its_own()
    tell(Path(sys.argv[1]))
