"""Failures in a row eject at once, after as many with four workers as with one."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.test_outliers import Origin
from tests.proxykit import Proxy, eventually, exchange, free_port, proxy, scripted_origin

CONFIGURATION = """
workers: WORKERS
listeners:
  - bind: 127.0.0.1:PORT
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - name: app
    balance: least_connection
    endpoints: [ENDPOINTS]
    outlier_detection: {RULES}
"""
QUICK = "interval: 500ms, base_ejection_time: 1s"
SLOW = "interval: 1h, success_rate: false"


def request(running: Proxy) -> int:
    """On a connection of its own, so that another worker may get it; the status."""
    answer = exchange(running.port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    return int(answer.split()[1])


def health(running: Proxy, address: str) -> dict[str, str]:
    return dict(running.endpoints()[address]["health"])


def fail(running: Proxy, origin: Origin, times: int) -> None:
    """Send until that endpoint has answered `times` times."""
    wanted = origin.served + times
    while origin.served < wanted:
        request(running)


def start(stack: ExitStack, tmp_path: Path, origins: list[Origin], workers: int, rules: str) -> tuple[Proxy, list[str]]:
    addresses = [stack.enter_context(scripted_origin(one.serve)) for one in origins]
    text = CONFIGURATION.replace("ENDPOINTS", ", ".join(addresses)).replace("RULES", rules)
    return stack.enter_context(proxy(tmp_path, text.replace("WORKERS", str(workers)))), addresses


@pytest.mark.parametrize("workers", [1, 4])
def test_the_fifth_failure_in_a_row_ejects_with_any_number_of_workers(tmp_path: Path, workers: int) -> None:
    with ExitStack() as stack:
        bad, good = Origin(), Origin()
        running, (address, _) = start(stack, tmp_path, [bad, good], workers, SLOW)
        bad.status = 500
        for _ in range(3):  # four in a row and a success, again and again
            fail(running, bad, 4)
            bad.status = 200
            fail(running, bad, 1)
            bad.status = 500
        fail(running, bad, 4)
        time.sleep(0.3)  # six looks: there is nothing to wait for
        assert health(running, address)["state"] != "ejected"
        begin = time.monotonic()
        fail(running, bad, 1)
        eventually(lambda: health(running, address)["state"] == "ejected", "the ejection", 2)
        print(f"{workers} workers: ejected after 5 failures, seen after {time.monotonic() - begin:.3f} s")
        assert health(running, address)["reason"] == "5 failures in a row"
        served = bad.served
        assert [request(running) for _ in range(40)] == [200] * 40
        assert bad.served == served


def test_an_ejection_ends_and_the_next_one_is_longer(tmp_path: Path) -> None:
    with ExitStack() as stack:
        bad, good = Origin(), Origin()
        running, (address, _) = start(stack, tmp_path, [bad, good], 2, QUICK)
        bad.status = 503
        moments: list[float] = []
        begin, is_out = time.monotonic(), False
        while len(moments) < 4 and time.monotonic() - begin < 15:
            request(running)
            if (health(running, address)["state"] == "ejected") is not is_out:
                is_out = not is_out
                moments.append(time.monotonic() - begin)
        print("out, back, out, back at " + ", ".join(f"{moment:.2f} s" for moment in moments))
        first, second = moments[1] - moments[0], moments[3] - moments[2]
        assert 0.9 < first < 2.0
        assert 1.9 < second < 3.0


def test_requests_that_reach_nobody_count_and_most_endpoints_stay_in(tmp_path: Path) -> None:
    with ExitStack() as stack:
        nobody = [f"127.0.0.1:{free_port()}" for _ in range(3)]
        text = CONFIGURATION.replace("ENDPOINTS", ", ".join(nobody)).replace("WORKERS", "4")
        rules = "consecutive_5xx: 0, consecutive_gateway_failure: 3, interval: 1h, max_ejection_percent: 40"
        running = stack.enter_context(proxy(tmp_path, text.replace("RULES", rules)))
        for _ in range(60):
            assert request(running) in (502, 503)
        eventually(lambda: states(running).count("ejected") == 1, "one ejection", 2)
        for _ in range(60):
            request(running)
        assert states(running).count("ejected") == 1
        assert "gateway failures in a row" in str(running.endpoints())


def states(running: Proxy) -> list[str]:
    return [each["health"]["state"] for each in running.endpoints().values()]
