"""Medians, ratios within a round, and what the table says about errors."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from loadtests import report
from loadtests.cpu import CpuTime
from loadtests.report import Sample, Spread
from loadtests.work import Outcome


def sample(proxy: str, number: int, us_each: int | None, *, requests: int = 100, refused: int = 0) -> Sample:
    outcome = Outcome(requests, 2.0, p50_us=1000 + number, p99_us=5000, refused=refused, socket_errors=0)
    cpu = None if us_each is None else CpuTime(us_each * requests // 4, us_each * requests * 3 // 4)
    return Sample("get-1k", proxy, number, outcome, cpu)


# The machine is slow in round 1: both proxies cost twice as much, their ratio stays.
DRIFTING = [
    sample("nginx", 0, 20),
    sample("shardproxy", 0, 16),
    sample("nginx", 1, 40),
    sample("shardproxy", 1, 36),
    sample("nginx", 2, 20),
    sample("shardproxy", 2, 20),
]


def test_a_ratio_compares_within_one_round() -> None:
    assert report.ratios(DRIFTING, "shardproxy") == pytest.approx([0.8, 0.9, 1.0])


def test_the_summary_has_the_median_of_the_ratios_not_the_ratio_of_the_medians() -> None:
    row = report.summarise(DRIFTING)[1]
    assert row.proxy == "shardproxy"
    assert row.ratio is not None and row.ratio.median == pytest.approx(0.9)
    assert row.cpu_us == Spread(20, 16, 36)


def test_user_and_system_are_apart() -> None:
    row = report.summarise(DRIFTING)[0]
    assert row.user_us == Spread(5, 5, 10)
    assert row.system_us == Spread(15, 15, 30)


def test_a_round_without_the_reference_gives_no_ratio() -> None:
    assert report.ratios([sample("shardproxy", 0, 20), *DRIFTING[2:4]], "shardproxy") == pytest.approx([0.9])


def test_direct_has_a_rate_but_no_cost() -> None:
    (row,) = report.summarise([sample("direct", 0, None)])
    assert (row.cpu_us, row.ratio, row.rate.median) == (None, None, 50.0)


def test_a_sample_without_requests_has_no_cost_instead_of_a_division_by_zero() -> None:
    (row,) = report.summarise([sample("envoy", 0, 20, requests=0)])
    assert row.cpu_us is None
    assert not row.is_clean


def test_rows_keep_the_order_of_the_first_round_though_rounds_rotate() -> None:
    rows = report.summarise([sample(name, i, 9) for i, order in enumerate(("ab", "ba")) for name in order])
    assert [row.proxy for row in rows] == ["a", "b"]


def drawn(samples: list[Sample]) -> str:
    console = Console(width=200, file=io.StringIO())
    with console.capture() as captured:
        console.print(report.table(report.summarise(samples)))
    return captured.get()


def test_the_table_shows_medians_and_the_ratio() -> None:
    assert "0.90 (0.80..1.00)" in drawn(DRIFTING)
    assert "x nginx" in drawn(DRIFTING)


def test_errors_are_shown_as_such() -> None:
    assert "7 not 2xx" in drawn([sample("envoy", 0, 20, refused=7)])
    assert "no request done" in drawn([sample("envoy", 0, 20, requests=0)])


def test_the_json_holds_summary_and_every_sample(tmp_path: Path) -> None:
    path = tmp_path / "new" / "figures.json"
    report.write_json(path, DRIFTING, {"rounds": 3}, ["a note"])
    read = json.loads(path.read_text())
    assert (read["rounds"], read["notes"], len(read["samples"])) == (3, ["a note"], 6)
    assert read["summary"][1]["ratio"]["median"] == pytest.approx(0.9)
    assert read["samples"][0]["cpu_us_per_request"] == 20
