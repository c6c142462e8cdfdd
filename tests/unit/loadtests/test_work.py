"""The works, and wrk against real servers, good and bad."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from loadtests import proxies, work
from loadtests.processes import free_ports
from loadtests.work import WORKS, Load, Outcome, Work, WrkFailed

WRK = proxies.on_path("wrk")()
needs_tools = pytest.mark.skipif(
    WRK is None or proxies.NGINX.find() is None, reason="needs wrk and nginx: apt-get install wrk nginx"
)
SHORT = Load(seconds=1, connections=4, core=0)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    (port,) = free_ports(1)
    with proxies.start_origin((port,), tmp_path_factory.mktemp("bench") / "origin", 0):
        yield port


@needs_tools
@pytest.mark.parametrize("each", [each for each in WORKS if not each.frame_bytes], ids=lambda each: each.name)
def test_the_origin_answers_every_work_without_an_error(each: Work, origin: int, tmp_path: Path) -> None:
    assert each.fault(origin) is None
    outcome = work.wrk_runner(str(WRK), tmp_path)(each, origin, SHORT)
    assert outcome.requests > 50
    assert outcome.errors == 0
    assert 0 < outcome.p50_us <= outcome.p99_us


@needs_tools
def test_answers_that_are_not_success_are_counted(origin: int, tmp_path: Path) -> None:
    wrong = Work("wrong", "/missing", 0, "a path that nobody has")
    outcome = work.wrk_runner(str(WRK), tmp_path)(wrong, origin, SHORT)
    assert outcome.refused == outcome.requests > 0


@needs_tools
def test_a_work_that_is_answered_wrongly_is_told_before_it_is_measured(origin: int) -> None:
    wrong = Work("wrong", "/missing", 1024, "a path that nobody has")
    fault = wrong.fault(origin)
    assert fault is not None
    assert f"GET /missing gave {HTTPStatus.NOT_FOUND.value} with" in fault


def test_a_port_without_a_server_is_a_sentence() -> None:
    (port,) = free_ports(1)
    fault = WORKS[0].fault(port)
    assert fault is not None and fault.startswith("no answer to GET /1k:")


@needs_tools
def test_wrk_without_a_server_fails_with_its_own_words(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with pytest.raises(WrkFailed, match="refused"):
        work.wrk_runner(str(WRK), tmp_path)(WORKS[0], port, SHORT)


def test_the_summary_line_is_read() -> None:
    line = (
        'SUMMARY {"requests":10,"duration_us":2000000,"p50_us":7,"p99_us":9,"max_us":11,'
        '"connect":1,"read":2,"write":3,"timeout":4,"status":5}'
    )
    assert work.parse_summary(f"Running 1s test\n{line}\n") == Outcome(10, 2.0, 7, 9, refused=5, socket_errors=10)


@pytest.mark.parametrize(("output", "said"), [("", "wrote nothing"), ("first\nlast\n", "last")])
def test_output_without_a_summary_is_a_failure(output: str, said: str) -> None:
    with pytest.raises(WrkFailed, match=said):
        work.parse_summary(output)


def test_random_routes_are_distinct_shuffled_and_the_same_each_time() -> None:
    routes = work.random_routes(1000)
    assert len(set(routes)) == 1000
    assert routes != tuple(sorted(routes))
    assert routes == work.random_routes(1000)


def test_works_with_the_same_setup_stand_together_so_that_they_share_their_proxies() -> None:
    setups = [each.setup for each in WORKS]
    changes = sum(a != b for a, b in zip(setups, setups[1:], strict=False))
    assert changes == len(set(setups)) - 1


def test_the_name_of_each_work_is_its_own() -> None:
    assert len({each.name for each in WORKS}) == len(WORKS)
