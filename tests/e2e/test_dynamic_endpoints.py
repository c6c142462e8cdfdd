"""Endpoints that come, go, weigh more and drain while the real proxy runs: nobody's request fails."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

from shardproxy.http1.faults import FAULTS
from tests.proxykit import Proxy, eventually, exchange, origins, proxy

CONFIGURATION = """
workers: 2
listeners:
  - bind: 127.0.0.1:PORT
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - name: app
    balance: round_robin
    endpoints: [ENDPOINTS]
"""
PATH = "/clusters/app/endpoints"


def admin(running: Proxy, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{running.admin_port}{path}", data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def get(running: Proxy) -> bytes:
    return exchange(running.port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")


class Load:
    """Clients that ask on and on; `bad` is what was no 200."""

    def __init__(self, running: Proxy) -> None:
        self.running = running
        self.good = 0
        self.bad: list[bytes] = []
        self.end = Event()

    def run(self) -> None:
        while not self.end.is_set():
            answer = get(self.running)
            if answer.startswith(b"HTTP/1.1 200 "):
                self.good += 1
            else:
                self.bad.append(answer)


@contextmanager
def load(running: Proxy, clients: int = 3) -> Iterator[Load]:
    work = Load(running)
    threads = [Thread(target=work.run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield work
    finally:
        work.end.set()
        for thread in threads:
            thread.join(20)
    assert work.good > 0
    assert not work.bad, work.bad[0]


def addresses(running: Proxy) -> list[str]:
    return list(running.endpoints())


def await_nothing_counted(running: Proxy) -> None:
    """All counts that are shared are zero in the end."""
    running.await_idle()
    stats = running.stats()
    assert stats["active"] == 0
    assert stats["clusters"]["app"]["active"] == 0


def test_an_endpoint_is_added_weighed_drained_and_removed_under_load(tmp_path: Path) -> None:
    with origins(0, 0, 5) as (one, two, slow), proxy(tmp_path, CONFIGURATION.replace("ENDPOINTS", one)) as running:
        with load(running):
            for _ in range(5):
                for other in (two, slow):
                    assert admin(running, "POST", PATH, {"address": other, "weight": 2})[0] == 200
                status, answer = admin(running, "PATCH", f"{PATH}/{two}", {"weight": 7})
                assert (status, answer["done"]) == (200, True)
                assert running.endpoints()[two]["weight"] == 7
                for other in (two, slow):
                    assert admin(running, "POST", f"{PATH}/{other}/drain")[0] == 200
                    assert admin(running, "DELETE", f"{PATH}/{other}")[0] == 200
                assert addresses(running) == [one]
        await_nothing_counted(running)


def test_an_endpoint_that_drains_gets_nothing_until_it_is_let_in_again(tmp_path: Path) -> None:
    with origins(0, 0) as (one, two), proxy(tmp_path, CONFIGURATION.replace("ENDPOINTS", f"{one}, {two}")) as running:
        assert admin(running, "POST", f"{PATH}/{two}/drain")[0] == 200
        for _ in range(20):
            assert get(running).startswith(b"HTTP/1.1 200 ")
        assert running.endpoints()[two]["requests"] == 0
        assert admin(running, "POST", f"{PATH}/{two}/drain", {"drain": False})[0] == 200
        for _ in range(20):
            assert get(running).startswith(b"HTTP/1.1 200 ")
        assert running.endpoints()[two]["requests"] > 0


def test_wrong_changes_are_refused_with_a_sentence_and_change_nothing(tmp_path: Path) -> None:
    with origins(0) as (one,), proxy(tmp_path, CONFIGURATION.replace("ENDPOINTS", one)) as running:
        before = running.stats()["version"]
        for method, path, body, status, sentence in (
            ("POST", "/clusters/other/endpoints", {"address": "127.0.0.1:1"}, 404, "no cluster 'other'"),
            ("GET", "/clusters/other/endpoints", None, 404, "no cluster 'other'"),
            ("POST", PATH, {"address": one}, 409, "already"),
            ("POST", PATH, {"address": "nowhere"}, 400, "address"),
            ("POST", PATH, {"address": "127.0.0.1:1", "wieght": 2}, 400, "weight"),
            ("POST", PATH, {"weight": 2}, 400, "is missing"),
            ("POST", PATH, {"address": "127.0.0.1:1", "weight": 0}, 400, "at least 1"),
            ("PATCH", f"{PATH}/{one}", {"address": "127.0.0.1:1"}, 400, "cannot be changed"),
            ("PATCH", f"{PATH}/127.0.0.1:1", {"weight": 2}, 404, "no endpoint"),
            ("DELETE", f"{PATH}/127.0.0.1:1", None, 404, "no endpoint"),
            ("DELETE", f"{PATH}/x", None, 400, "address"),
        ):
            found, answer = admin(running, method, path, body)
            assert (found, sentence in answer["message"]) == (status, True), (method, path, answer)
        assert running.stats()["version"] == before


def test_changes_outlive_a_hot_restart_and_a_reload_takes_what_the_file_says(tmp_path: Path) -> None:
    with origins(0, 0) as (one, two), proxy(tmp_path, CONFIGURATION.replace("ENDPOINTS", one)) as running:
        with load(running):
            assert admin(running, "POST", PATH, {"address": two})[0] == 200
            assert admin(running, "POST", "/restart")[0] == 200
            eventually(lambda: addresses(running) == [one, two], "the change in the new generation")
            assert admin(running, "POST", "/reload")[0] == 200
            assert addresses(running) == [one]
        await_nothing_counted(running)


def test_a_thousand_endpoints_come_and_go_in_memory_for_fewer(tmp_path: Path) -> None:
    """2 048 histograms are there: each round needs 100 more, and the slots of those that went are used again."""
    with origins(0) as (one,), proxy(tmp_path, CONFIGURATION.replace("ENDPOINTS", one)) as running:
        with load(running, 1):
            for number in range(30):
                added = [f"127.{number}.{index}.1:9" for index in range(100)]
                before = admin(running, "GET", PATH)[1]["endpoints"]
                assert len(before) == 1
                for address in added[:1]:
                    assert admin(running, "POST", PATH, {"address": address, "drain": True})[0] == 200
                    assert admin(running, "DELETE", f"{PATH}/{address}")[0] == 200
        assert len(re.findall("endpoints: cluster app", running.log)) == 60
        await_nothing_counted(running)


assert FAULTS
