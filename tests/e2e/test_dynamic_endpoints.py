"""Endpoints that come, go, weigh more and drain while the real proxy runs: nobody's request fails."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from tests.nameserver import Nameserver, nameserver
from tests.proxykit import ROOT, Proxy, eventually, exchange, origins, proxy

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
FROM_FILE = CONFIGURATION.replace("endpoints: [ENDPOINTS]", "endpoints_file: FILE")
FROM_DNS = CONFIGURATION.replace("endpoints: [ENDPOINTS]", "dns: {name: 'NAME', resolver: 'RESOLVER', min_ttl: 50ms}")
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


# A file that is replaced --------------------------------------------------------------------------------------------


def write(file: Path, text: str) -> None:
    """As a file must be replaced: nobody sees half of it."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


def replace_and_await(running: Proxy, file: Path, wanted: list[str]) -> None:
    write(file, json.dumps(wanted))
    eventually(lambda: addresses(running) == wanted, f"{wanted} to be served")


@pytest.mark.parametrize("times", [20, pytest.param(1000, marks=pytest.mark.long)])
def test_a_file_is_replaced_again_and_again_under_load(times: int, tmp_path: Path) -> None:
    """Each file has 150 new endpoints that drain: after 13 the slots of histograms are used up, and used again."""
    file = tmp_path / "endpoints.json"
    with origins(0, 0) as (one, two):
        write(file, json.dumps([one]))
        with proxy(tmp_path, FROM_FILE.replace("FILE", str(file))) as running:
            with load(running):
                for number in range(times):
                    serving = (one, two)[number % 2]
                    others = [
                        {"address": f"127.1.{number % 256}.{each}:{number // 256 + 1}", "drain": True}
                        for each in range(150)
                    ]
                    write(file, json.dumps([serving, *others]))
                    eventually(lambda: addresses(running)[0] == serving and len(addresses(running)) == 151, "the file")  # noqa: B023
            replace_and_await(running, file, [one])
            assert running.log.count("cluster app: 151 endpoints") == times
            assert "no room" not in running.log and "keeps its endpoints" not in running.log
            await_nothing_counted(running)


def test_a_wrong_file_is_refused_with_its_line_and_the_last_good_one_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.yaml"
    with origins(0, 0) as (one, two):
        write(file, f"- {one}\n")
        with proxy(tmp_path, FROM_FILE.replace("FILE", str(file))) as running:
            assert addresses(running) == [one]
            write(file, f"- {one}\n- address: {two}\n  wieght: 3\n")
            eventually(lambda: not running.stats()["sources"]["app"]["is_good"], "the file to be refused")
            assert f"{file}:3: [1].wieght" in running.stats()["sources"]["app"]["problem"]
            assert running.log.count("keeps its endpoints") == 1
            assert addresses(running) == [one]
            write(file, f"- {one}\n- address: {two}\n  weight: 3\n")
            eventually(lambda: addresses(running) == [one, two], "the right file to be taken")
            file.unlink()
            eventually(lambda: not running.stats()["sources"]["app"]["is_good"], "the file to be missed")
            assert addresses(running) == [one, two]


def test_what_a_file_says_is_changed_there_but_may_be_drained(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.yaml"
    with origins(0, 0) as (one, two):
        write(file, json.dumps([one, two]))
        with proxy(tmp_path, FROM_FILE.replace("FILE", str(file))) as running:
            for method, path in (("POST", PATH), ("DELETE", f"{PATH}/{one}"), ("PATCH", f"{PATH}/{one}")):
                status, answer = admin(running, method, path, {"address": "127.0.0.1:1"})
                assert (status, "change them there" in answer["message"]) == (409, True)
            assert admin(running, "POST", f"{PATH}/{two}/drain")[0] == 200
            replace_and_await(running, file, [two])
            assert admin(running, "GET", PATH)[1]["endpoints"][0]["drain"] is True


# DNS ----------------------------------------------------------------------------------------------------------------


def from_dns(server: Nameserver, name: str) -> str:
    return FROM_DNS.replace("NAME", name).replace("RESOLVER", server.address)


def test_the_records_of_a_name_are_the_endpoints_and_the_last_good_ones_are_kept(tmp_path: Path) -> None:
    with origins(0) as (one,), nameserver() as server:
        port = one.rpartition(":")[2]
        server.table = {("app.test", "A"): ["127.0.0.1"]}
        with proxy(tmp_path, from_dns(server, f"dns://app.test:{port}")) as running:
            assert addresses(running) == [one]
            server.table = {("app.test", "A"): ["127.0.0.1"], ("app.test", "AAAA"): ["::1"]}
            eventually(lambda: addresses(running) == [one, f"[::1]:{port}"], "both kinds of record")
            server.table = {("app.test", "A"): ["127.0.0.1"]}
            eventually(lambda: addresses(running) == [one], "the answer to change")
            with load(running):
                server.is_silent = True
                eventually(lambda: not running.stats()["sources"]["app"]["is_good"], "the resolver to be missed")
                assert addresses(running) == [one]
                server.is_silent, server.table = False, {}
                eventually(lambda: "no such name" in running.stats()["sources"]["app"]["problem"], "the name to go")
                assert addresses(running) == [one]
                for operation in ("/reload", "/restart"):
                    assert admin(running, "POST", operation)[0] == 200
                    assert addresses(running) == [one]
            await_nothing_counted(running)


def test_srv_records_say_port_and_weight(tmp_path: Path) -> None:
    with origins(0, 0) as (one, two), nameserver() as server:
        ports = [each.rpartition(":")[2] for each in (one, two)]
        server.table = {
            ("_http._tcp.app.test", "SRV"): [
                f"0 {weight} {port} a.test." for weight, port in zip((1, 3), ports, strict=True)
            ],
            ("a.test", "A"): ["127.0.0.1"],
        }
        with proxy(tmp_path, from_dns(server, "dns+srv://_http._tcp.app.test")) as running:
            assert {address: each["weight"] for address, each in running.endpoints().items()} == {one: 1, two: 3}
            with load(running):
                for number in range(20):
                    serving, port = (one, two)[number % 2], ports[number % 2]
                    server.table["_http._tcp.app.test", "SRV"] = [f"0 1 {port} a.test."]
                    eventually(lambda: addresses(running) == [serving], "the answer to change")  # noqa: B023
            await_nothing_counted(running)


def test_a_name_without_an_answer_does_not_keep_the_proxy_from_serving(tmp_path: Path) -> None:
    with origins(0) as (one,), nameserver() as server:
        server.is_silent = True
        text = from_dns(server, f"dns://app.test:{one.rpartition(':')[2]}")
        with proxy(tmp_path, text) as running:
            assert get(running).startswith(b"HTTP/1.1 503 ")
            server.is_silent, server.table = False, {("app.test", "A"): ["127.0.0.1"]}
            eventually(lambda: addresses(running) == [one], "the first answer")
            assert get(running).startswith(b"HTTP/1.1 200 ")


# The examples -------------------------------------------------------------------------------------------------------


def example(name: str, *replacements: tuple[str, str]) -> str:
    text = (ROOT / "configs" / name).read_text().replace("127.0.0.1:8080", "127.0.0.1:PORT")
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return text


def test_the_example_with_a_file_serves(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.yaml"
    with origins(0) as (one,):
        write(file, f"- {one}\n")
        text = example("endpoints_file.yaml", ("${ENDPOINTS:-/etc/shardproxy/endpoints.yaml}", str(file)))
        with proxy(tmp_path, text) as running:
            assert get(running).startswith(b"HTTP/1.1 200 ")


def test_the_example_with_dns_serves(tmp_path: Path) -> None:
    with origins(0) as (one,), nameserver() as server:
        server.table = {("localhost", "A"): ["127.0.0.1"]}
        text = example(
            "dns.yaml",
            ("localhost:9001", f"localhost:{one.rpartition(':')[2]}"),
            ("# resolver: 10.0.0.2:53 ", f"resolver: {server.address} "),
        )
        with proxy(tmp_path, text) as running:
            assert get(running).startswith(b"HTTP/1.1 200 ")
