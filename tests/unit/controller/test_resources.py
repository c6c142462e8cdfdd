from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from shardproxy.controller.resources import FRESH_S, KEPT_S, Resources, Usage, age_s
from tests.unit.controller.counting import Clock
from tests.unit.controller.shortage import no_descriptors_left

TICK_S = 0.05  # a process's start is known to a tick of the system's clock


def burn(seconds: float) -> None:
    """Use that much CPU time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_memory_and_cpu_time_are_those_of_the_process() -> None:
    usage = Resources().of(os.getpid())
    assert 1 << 20 < usage.rss_bytes < 1 << 36
    assert usage.cpu_s == pytest.approx(sum(os.times()[:2]), abs=0.5)


def test_a_process_that_is_gone_uses_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert Resources().of(process.pid) == Usage(0, 0.0)


def test_within_a_second_nothing_is_asked_again() -> None:
    found = Resources()
    first = found.of(os.getpid())
    burn(0.05)
    assert found.of(os.getpid()) is first


def test_what_was_found_longer_ago_is_asked_again() -> None:
    clock = Clock()
    found = Resources(clock)
    first = found.of(os.getpid())
    burn(0.05)
    clock.now += FRESH_S - 0.001
    assert found.of(os.getpid()) is first
    clock.now += 0.001
    assert found.of(os.getpid()).cpu_s > first.cpu_s


def test_a_process_is_as_old_as_the_time_since_it_was_started() -> None:
    before = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        born = time.monotonic()
        while age_s(process.pid) < 0.1:
            time.sleep(0.01)
        asked, age, answered = time.monotonic(), age_s(process.pid), time.monotonic()
        assert asked - born - TICK_S <= age <= answered - before + TICK_S
        process.communicate(b"")
    assert age_s(process.pid) == 0.0


def test_whoever_sets_the_date_changes_nobody_s_age(monkeypatch: pytest.MonkeyPatch) -> None:
    age = age_s(os.getpid())
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert age <= age_s(os.getpid()) < age + 60


def test_a_process_that_nobody_has_asked_for_in_a_minute_is_forgotten() -> None:
    clock = Clock()
    found = Resources(clock)
    found.of(1)
    clock.now += 30
    found.of(2)
    clock.now += KEPT_S - 30
    found.of(3)
    assert set(found._found) == {2, 3}


def test_without_a_descriptor_to_look_with_nothing_is_known() -> None:
    found = Resources()
    with no_descriptors_left():
        assert found.of(os.getppid()) == Usage(0, 0.0)
        assert age_s(os.getppid()) == 0.0


def test_cpu_time_is_told_to_a_hundredth_of_a_second() -> None:
    cpu_s = Resources().of(os.getpid()).cpu_s
    assert cpu_s == round(cpu_s, 2)
