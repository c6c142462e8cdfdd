from __future__ import annotations

import io
import os
import re
import time

import pytest
from msgspec.structs import replace
from rich.console import Console

from shardproxy.config.schema import BandwidthLimit, Config, LimitKey, RateLimit
from shardproxy.controller.admin.tables import duration, show
from shardproxy.controller.reading import read
from shardproxy.controller.reasons import Reason, Why
from shardproxy.controller.stats import LastOperation
from shardproxy.shm import names
from shardproxy.shm.decisions import CHECKED, FAILED_CHECK, Decisions
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.rows import Kind, Rows
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.supervisor.catalog import assign


def shown(segment: Segment, slots: Slots, config: Config) -> str:
    out = io.StringIO()
    show(read(segment, slots, config), Console(file=out, width=160, markup=False))
    return out.getvalue()


def shown_after(operation: LastOperation, segment: Segment, slots: Slots, config: Config) -> str:
    out = io.StringIO()
    show(read(segment, slots, config, 3, None, operation), Console(file=out, width=160, markup=False))
    return out.getvalue()


def test_everything_that_is_counted_has_its_line(segment: Segment, slots: Slots, config: Config) -> None:
    Rows(segment).claim(2, 4712, 1, Kind.WORKER)
    text = shown(segment, slots, config)
    for word in ("pid 4712", "starting", "web", "127.0.0.1:8080", "127.0.0.1:9001", "127.0.0.1:9002", "few", "7 of 7"):
        assert word in text


def test_limits_by_key_and_of_bandwidth_have_their_lines(segment: Segment, config: Config) -> None:
    keyed = RateLimit(name="keyed", rate=2.0, key=LimitKey(address="client_ip"), keys=1024)
    wide = BandwidthLimit(name="wide", down=1 << 20, up=1 << 10, per_connection=True)
    config = replace(config, rate_limits=(*config.rate_limits, keyed), bandwidth_limits=(wide,))
    slots = Slots(segment.capacities)
    assign(config, slots)
    Metrics(segment, 2).count(slots.counter(names.bandwidth_passed("wide", "down")), 3 << 20)
    text = shown(segment, slots, config)
    assert re.search(r"keyed +2/s +0 keys +0 +0", text)
    assert re.search(r"wide +down +1MiB/s +3\.0 MiB +0\.0 MiB +0", text)
    assert re.search(r"wide +up +1KiB/s +0\.0 MiB", text)


def test_a_worker_says_what_it_costs(segment: Segment, slots: Slots, config: Config) -> None:
    Rows(segment).claim(2, os.getpid(), 1, Kind.WORKER)
    assert re.search(rf"pid {os.getpid()} .* [1-9]\d* MiB +\d+\.\d s ", shown(segment, slots, config))


@pytest.mark.parametrize(
    ("is_done", "line"), [(True, "5 min ago: reload: it is done\n"), (False, "5 min ago: failed: reload: it is done\n")]
)
def test_what_was_done_last_is_said(is_done: bool, line: str, segment: Segment, slots: Slots, config: Config) -> None:
    last = LastOperation(is_done=is_done, text="reload: it is done", age_s=300.0)
    text = shown_after(last, segment, slots, config)
    assert line in text
    assert "configuration 3, " in text
    assert " ago: " not in shown(segment, slots, config)


def test_an_endpoint_that_is_ill_is_shown_with_the_reason(segment: Segment, slots: Slots, config: Config) -> None:
    slot = slots.decision(names.endpoint_decision("app", "127.0.0.1:9002"))
    reason = Reason(Why.STATUS, 503).encode()
    Decisions(segment).decide(slot, CHECKED | FAILED_CHECK, reason, time.monotonic_ns() - 12 * 10**9)
    text = shown(segment, slots, config)
    assert "unhealthy for 12 s: answered 503" in text
    assert "unchecked" in text


def test_only_faults_that_happened_are_named(segment: Segment, slots: Slots, config: Config) -> None:
    assert "faults" not in shown(segment, slots, config)
    Metrics(segment, 2).count(slots.counter(names.fault("overflow")), 3)
    assert "faults: overflow 3\n" in shown(segment, slots, config)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (3 * 3600, "3 h"), (47 * 3600, "47 h"), (10 * 86_400, "10 d")],
)
def test_a_duration_is_told_in_the_largest_unit_that_fits_twice(seconds: float, text: str) -> None:
    assert duration(seconds) == text
