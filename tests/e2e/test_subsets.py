"""Subsets of the real proxy: routes that only reach endpoints with certain labels, and count with the whole cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.peers import OK, Client, Origin, recording_origin, says, says_when
from tests.proxykit import Proxy, eventually, exchange, proxy

CONFIGURATION = """
workers: 2
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    routes:
      - {match: {prefix: /v1}, cluster: app, subset: [version=v1]}
      - {match: {prefix: /gold}, cluster: app, subset: [tier=gold, version=v1]}
      - {match: {prefix: /v2}, cluster: app, subset: [version=v2]}
      - match: {prefix: /v3}
        cluster: app
        subset: [version=v3]
        subset_fallback: any
      - {match: {prefix: /file}, cluster: listed, subset: [version=v2]}
      - {match: {prefix: /}, cluster: app}
clusters:
  - name: app
    balance: round_robin
    endpoints:
      - {address: ORIGIN0, labels: [version=v1]}
      - {address: ORIGIN1, labels: [version=v1, tier=gold]}
      - {address: ORIGIN2, labels: [version=v2], max_requests: 1}
  - name: listed
    endpoints_file: FILE
"""


@pytest.fixture(scope="module")
def peers() -> Iterator[list[Origin]]:
    with ExitStack() as stack:
        yield [stack.enter_context(recording_origin()) for _ in range(3)]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("listed") / "endpoints.yaml"


@pytest.fixture(scope="module")
def running(peers: list[Origin], file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    file.write_text(f"- {{address: '{peers[0].address}', labels: [version=v1]}}\n")
    text = CONFIGURATION.replace("FILE", str(file))
    for number, peer in enumerate(peers):
        text = text.replace(f"ORIGIN{number}", peer.address)
    with proxy(tmp_path_factory.mktemp("subsets"), text) as started:
        yield started


def status(running: Proxy, path: str) -> int:
    """On a connection of its own, so that it is any worker's."""
    answer = exchange(running.port, b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path.encode())
    return int(answer.split(b" ", 2)[1])


def spread(running: Proxy, peers: list[Origin], path: str, requests: int = 12) -> list[int]:
    """How many of the requests each origin got."""
    assert [status(running, path) for _ in range(requests)] == [200] * requests
    return [len(peer.of(path)) for peer in peers]


def test_requests_reach_only_endpoints_that_carry_all_labels_in_turns_over_all_workers(
    running: Proxy, peers: list[Origin]
) -> None:
    assert spread(running, peers, "/v1/a") == [6, 6, 0]
    assert spread(running, peers, "/v2/a") == [0, 0, 12]
    assert spread(running, peers, "/gold/a") == [0, 12, 0]
    assert spread(running, peers, "/a") == [4, 4, 4]


def test_where_nobody_carries_the_labels_any_endpoint_answers_if_the_route_says_so(
    running: Proxy, peers: list[Origin]
) -> None:
    assert spread(running, peers, "/v3/a") == [4, 4, 4]


def test_a_subset_shares_counts_and_caps_with_its_cluster(running: Proxy, peers: list[Origin]) -> None:
    held, answer = peers[2], threading.Event()
    held.plays["/v2/held"] = says_when(answer, OK)
    try:
        with Client(running.port) as waiting:
            waiting.send("GET /v2/held HTTP/1.1")
            eventually(lambda: held.of("/v2/held"), "the request at the origin")
            assert running.endpoints()[held.address]["active"] == 1
            assert status(running, "/v2/more") == 503
            assert spread(running, peers, "/around") == [6, 6, 0]
            answer.set()
            assert waiting.read().status == 200
    finally:
        answer.set()
    running.await_idle()
    assert running.endpoints()[held.address]["active"] == 0


def test_endpoints_that_a_file_brings_later_join_the_subset(running: Proxy, peers: list[Origin], file: Path) -> None:
    assert status(running, "/file/a") == 503
    replaced = file.with_suffix(".new")
    replaced.write_text(file.read_text() + f"- {{address: '{peers[1].address}', labels: [version=v2]}}\n")
    replaced.replace(file)
    eventually(lambda: status(running, "/file/b") == 200, "the endpoint of the file")
    assert spread(running, peers, "/file/c") == [0, 12, 0]


def test_an_ill_endpoint_of_a_subset_gives_no_other_endpoint_the_request(running: Proxy, peers: list[Origin]) -> None:
    peers[2].plays["/v2/ill"] = says(OK.replace(b"200 OK", b"500 Oh"))
    assert [status(running, "/v2/ill") for _ in range(3)] == [500] * 3
    assert [len(peer.of("/v2/ill")) for peer in peers] == [0, 0, 3]
