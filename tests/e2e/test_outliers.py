"""Ejection in the real proxy: an endpoint whose answers go bad gets nothing for a while, from no worker."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

from tests.proxykit import Proxy, eventually, exchange, free_port, proxy, scripted_origin

CONFIGURATION = """
workers: 4
listeners:
  - bind: 127.0.0.1:PORT
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - name: app
    balance: round_robin
    endpoints: [ENDPOINTS]
    outlier_detection:
      interval: 300ms
      base_ejection_time: 2s
      consecutive_5xx: 0
      failure_percentage: 80
      failure_percentage_requests: 3
"""


class Origin:
    """Answers with `status`, and counts."""

    def __init__(self) -> None:
        self.status = 200
        self.served = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            self.served += 1
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % self.status)


def send(running: Proxy, count: int) -> None:
    for _ in range(count):
        exchange(running.port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")


def state(running: Proxy, address: str) -> str:
    send(running, 40)
    return str(running.endpoints()[address]["health"]["state"])


def test_bad_answers_eject_over_all_workers_and_good_ones_are_let_in_again(tmp_path: Path) -> None:
    origins = [Origin() for _ in range(5)]
    with ExitStack() as stack:
        addresses = [stack.enter_context(scripted_origin(one.serve)) for one in origins]
        text = CONFIGURATION.replace("ENDPOINTS", ", ".join(addresses))
        running = stack.enter_context(proxy(tmp_path, text))
        send(running, 20)
        origins[2].status = 500
        eventually(lambda: state(running, addresses[2]) == "ejected", "the ejection")
        origins[2].status = 200
        seen = origins[2].served
        send(running, 40)
        assert origins[2].served == seen
        assert "% of its requests" in running.endpoints()[addresses[2]]["health"]["reason"]
        eventually(lambda: state(running, addresses[2]) != "ejected", "the end of the ejection")
        send(running, 40)
        assert origins[2].served > seen


def test_an_endpoint_that_cannot_be_reached_is_ejected_too(tmp_path: Path) -> None:
    origins = [Origin() for _ in range(4)]
    with ExitStack() as stack:
        nobody = f"127.0.0.1:{free_port()}"
        addresses = [nobody, *(stack.enter_context(scripted_origin(one.serve)) for one in origins)]
        running = stack.enter_context(proxy(tmp_path, CONFIGURATION.replace("ENDPOINTS", ", ".join(addresses))))
        eventually(lambda: state(running, nobody) == "ejected", "the ejection")
