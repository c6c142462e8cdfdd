"""The examples under configs/ that show a way to deploy: each is started as it is, but for its ports, and used."""

from __future__ import annotations

import http.client
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.proxykit import ROOT, Proxy, eventually, origins, proxy


@contextmanager
def example(name: str, directory: Path) -> Iterator[tuple[Proxy, dict[bytes, int], Path]]:
    """The proxy, the number (1 to 3) of the origin that answers with a body, and its file."""
    with origins(0, 0, 0) as addresses:
        text = (ROOT / "configs" / f"{name}.yaml").read_text()
        text = re.sub(r"^admin: .*\n", "", text, flags=re.MULTILINE).replace("127.0.0.1:8080", "127.0.0.1:PORT")
        for number, address in enumerate(addresses, start=1):
            text = text.replace(f"127.0.0.1:900{number}", address)
        numbers = {f"{address.rpartition(':')[2]}\n".encode(): n for n, address in enumerate(addresses, start=1)}
        with proxy(directory, "workers: 2\n" + text) as running:
            yield running, numbers, next(directory.glob("proxy-*.yaml"))


def get(running: Proxy, path: str = "/", **fields: str) -> tuple[bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in fields.items()})
    answer = connection.getresponse()
    body, head = answer.read(), answer.headers
    connection.close()
    assert answer.status == 200
    return body, head


def test_canary(tmp_path: Path) -> None:
    with example("canary", tmp_path) as (running, numbers, _):
        assert {numbers[get(running, Cookie="version=new")[0]] for _ in range(5)} == {3}
        without = {numbers[get(running)[0]] for _ in range(20)}
        assert without == {3} or without <= {1, 2}, "one client is always on the same side"


def test_blue_green(tmp_path: Path) -> None:
    with example("blue_green", tmp_path) as (running, numbers, file):
        assert {numbers[get(running, "/preview/x")[0]] for _ in range(5)} == {3}
        assert {numbers[get(running)[0]] for _ in range(20)} == {1, 2}
        text = file.read_text()
        file.write_text(text.replace("weight: 100", "weight: X").replace("weight: 0", "weight: 100").replace("X", "0"))
        running.process.send_signal(1)
        eventually(lambda: running.stats()["version"] == 2, "the change over")
        assert {numbers[get(running)[0]] for _ in range(20)} == {3}


def test_sticky(tmp_path: Path) -> None:
    with example("sticky", tmp_path) as (running, numbers, _):
        homes: Counter[int] = Counter()
        for _ in range(30):
            body, head = get(running)
            cookie = head["Set-Cookie"].partition(";")[0]
            homes[numbers[body]] += 1
            assert {get(running, Cookie=cookie)[0] for _ in range(3)} == {body}
        assert set(homes) == {1, 2, 3}


def test_mirrored(tmp_path: Path) -> None:
    with example("mirrored", tmp_path) as (running, numbers, _):
        assert {numbers[get(running)[0]] for _ in range(150)} == {1, 2}
        assert 0 < running.stats()["clusters"]["next"]["mirrored"] < 60


def statuses(running: Proxy, path: str, times: int, **fields: str) -> Counter[int]:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    seen: Counter[int] = Counter()
    for _ in range(times):
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in fields.items()})
        answer = connection.getresponse()
        answer.read()
        seen[answer.status] += 1
    connection.close()
    return seen


def test_rate_limits(tmp_path: Path) -> None:
    with example("rate_limits", tmp_path) as (running, _, _):
        assert statuses(running, "/tenants/blue/x", 5) == {200: 3, 429: 2}
        assert statuses(running, "/tenants/green", 3) == {200: 3}
        assert statuses(running, "/api/", 20, X_Api_Key="iron")[429] >= 10
        assert statuses(running, "/", 20) == {200: 20}
        limits = running.stats()["rate_limits"]
        assert limits["would-be"]["refused"] == 19
        assert limits["each-tenant"]["keys"]["occupied"] == 2


def test_adaptive(tmp_path: Path) -> None:
    with example("adaptive", tmp_path) as (running, _, _):
        assert statuses(running, "/", 50) == {200: 50}
        assert statuses(running, "/reports/", 10) == {200: 10}
        assert 5 <= running.stats()["rate_limits"]["reports"]["rate"] <= 500
        eventually(lambda: running.stats()["clusters"]["app"]["adaptive_limit"] >= 4, "a limit")


def test_overload(tmp_path: Path) -> None:
    with example("overload", tmp_path) as (running, _, _):
        assert statuses(running, "/batch/", 5) == {200: 5}
        eventually(lambda: running.stats()["workers"][0]["overload"]["pressures"]["memory"] > 0, "a look")
        assert running.stats()["workers"][0]["overload"]["actions"] == []
