"""Balancing policies of the real proxy: four workers choose as one would, and clients find their endpoint again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from string import ascii_lowercase

import pytest

from tests.e2e.peers import Answer, Client
from tests.load import press
from tests.proxykit import Proxy, eventually, origins, proxy

CONFIGURATION = """
workers: 4
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    routes:
      - {match: {prefix: /turns}, cluster: turns}
      - {match: {prefix: /first}, cluster: first}
      - match: {prefix: /ring}
        cluster: ring
        hash: [{header: X-Session}, {query: user}, {client: true}]
      - match: {prefix: /maglev}
        cluster: maglev
        hash: [{header: X-Session}, {cookie: {name: sp-route, ttl: 1h, path: /maglev}}]
      - {match: {prefix: /any}, cluster: maglev}
clusters:
  - {name: turns, balance: round_robin, endpoints: [{address: A, weight: 3}, B, C]}
  - {name: first, balance: first, endpoints: [{address: A, max_requests: 2}, {address: B, max_requests: 2}, C]}
  - {name: ring, balance: ring_hash, endpoints: [A, B, C]}
  - {name: maglev, balance: maglev, endpoints: [A, B, C], hash_balance_factor: 200}
"""
LATENCY = """
workers: 4
log: {level: warning}
listeners:
  - {bind: "127.0.0.1:PORT", routes: [{match: {prefix: /}, cluster: app}]}
clusters:
  - {name: app, balance: peak_ewma, decay: 2s, slow_start: {window: 1s}, endpoints: [A, B, C]}
"""


def written(text: str, addresses: list[str]) -> str:
    for letter, address in zip("ABC", addresses, strict=True):
        text = text.replace(f"address: {letter}", f"address: {address}").replace(f" {letter}]", f" {address}]")
        text = text.replace(f" {letter},", f" {address},").replace(f"[{letter},", f"[{address},")
    return text


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with (
        origins(0, 0, 0) as addresses,
        proxy(tmp_path_factory.mktemp("policies"), written(CONFIGURATION, addresses)) as one,
    ):
        yield one


def requests(running: Proxy, cluster: str) -> list[int]:
    return [endpoint["requests"] for endpoint in running.endpoints(cluster).values()]


def get(running: Proxy, path: str, *fields: str) -> Answer:
    """On a connection of its own, so that every worker gets some of many."""
    with Client(running.port) as client:
        answer = client.get(path, *fields)
    assert answer.status == 200
    return answer


def got(running: Proxy, cluster: str, path: str, *fields: str, times: int = 40) -> list[int]:
    """How many of so many requests each endpoint got."""
    before = requests(running, cluster)
    for _ in range(times):
        get(running, path, *fields)

    def more() -> list[int]:
        return [now - then for now, then in zip(requests(running, cluster), before, strict=True)]

    eventually(lambda: sum(more()) == times, "all requests to be counted")
    return more()


def test_round_robin_is_one_sequence_over_four_workers(running: Proxy) -> None:
    assert got(running, "turns", "/turns", times=100) == [60, 20, 20]
    workers = [worker["requests"] for worker in running.stats()["workers"]]
    assert sum(each > 0 for each in workers) > 1


def test_round_robin_stays_exact_under_load(running: Proxy) -> None:
    before = requests(running, "turns")
    tally = asyncio.run(press(running.port, "/turns", clients=24, seconds=1))
    assert tally.with_status(200) == tally.total > 100

    def more() -> list[int]:
        return [now - then for now, then in zip(requests(running, "turns"), before, strict=True)]

    eventually(lambda: sum(more()) == tally.total, "all requests to be counted")
    assert more() == pytest.approx([tally.total * share for share in (0.6, 0.2, 0.2)], abs=3)


def test_first_leaves_the_others_at_rest_while_one_is_enough(running: Proxy) -> None:
    assert got(running, "first", "/first") == [40, 0, 0]


@pytest.mark.parametrize("cluster", ["ring", "maglev"])
def test_a_session_stays_at_one_endpoint_and_sessions_spread(running: Proxy, cluster: str) -> None:
    homes: Counter[int] = Counter()
    for number in range(12):
        shares = got(running, cluster, f"/{cluster}", f"X-Session: s{number}", times=6)
        assert sorted(shares) == [0, 0, 6]
        homes[shares.index(6)] += 1
    assert len(homes) > 1


def test_what_comes_first_decides_and_what_is_missing_is_passed_by(running: Proxy) -> None:
    by_query = {user: got(running, "ring", f"/ring?user={user}", times=4) for user in ascii_lowercase[:16]}
    assert all(sorted(shares) == [0, 0, 4] for shares in by_query.values())
    assert len({shares.index(4) for shares in by_query.values()}) > 1
    by_both = [got(running, "ring", f"/ring?user={user}", "X-Session: one", times=4) for user in by_query]
    assert len({shares.index(4) for shares in by_both}) == 1
    assert sorted(got(running, "ring", "/ring", times=8)) == [0, 0, 8]  # the client's address


def test_a_client_without_the_cookie_is_given_one_that_leads_it_back(running: Proxy) -> None:
    before = requests(running, "maglev")
    answer = get(running, "/maglev")
    eventually(lambda: sum(requests(running, "maglev")) == sum(before) + 1, "the request to be counted")
    home = [now - then for now, then in zip(requests(running, "maglev"), before, strict=True)].index(1)
    (line,) = answer.values("set-cookie")
    pair, *attributes = line.split("; ")
    assert pair.startswith("sp-route=") and attributes == ["Path=/maglev", "Max-Age=3600", "HttpOnly"]
    shares = got(running, "maglev", "/maglev", f"Cookie: a=b; {pair}", times=10)
    assert shares[home] == 10


def test_each_new_client_is_given_its_own_cookie_and_known_ones_none(running: Proxy) -> None:
    given = {get(running, "/maglev").values("set-cookie")[0] for _ in range(5)}
    assert len(given) == 5
    assert get(running, "/maglev", "Cookie: sp-route=mine").values("set-cookie") == []
    assert get(running, "/maglev", "X-Session: known").values("set-cookie") == []


def test_a_route_without_hash_goes_anywhere_and_gives_no_cookie(running: Proxy) -> None:
    assert get(running, "/any").values("set-cookie") == []
    assert min(got(running, "maglev", "/any", times=60)) > 0


def test_peak_ewma_of_four_workers_avoids_the_slow_endpoint(tmp_path: Path) -> None:
    with (
        origins(5, 5, 150) as addresses,
        proxy(tmp_path, written(LATENCY, addresses)) as one,
    ):
        tally = asyncio.run(press(one.port, clients=16, seconds=2))
        assert tally.with_status(200) == tally.total > 200
        one.await_idle()
        fast, other, slow = [endpoint["requests"] for endpoint in one.endpoints().values()]
    assert slow < 0.03 * tally.total
    assert 0.5 < fast / other < 2
