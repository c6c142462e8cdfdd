"""What the log says when descriptors, ports or memory are missing: the number, the reason, and what to do."""

from __future__ import annotations

import errno
import os
import resource

import pytest

from shardproxy.observe.rate_limit import LogRateLimit
from shardproxy.observe.shortages import REASONS, Shortages, describe

Logged = pytest.LogCaptureFixture


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shortages(clock: Clock) -> Shortages:
    return Shortages(LogRateLimit(1.0, clock))


def test_one_line_is_allowed_in_a_period_and_tells_of_all_since_the_last(clock: Clock) -> None:
    limit = LogRateLimit(60.0, clock)
    assert [limit.note(), limit.note(), limit.note()] == [1, 0, 0]
    clock.now_s += 59
    assert limit.note() == 0
    clock.now_s += 1
    assert limit.note() == 4
    clock.now_s += 60
    assert limit.take() == 0, "nothing has happened since"
    assert limit.note() == 1


def test_the_first_failure_is_told_at_once_and_the_others_once_a_second(
    shortages: Shortages, clock: Clock, caplog: Logged
) -> None:
    for _ in range(5):
        shortages.note("accept", errno.EMFILE)
    assert len(caplog.records) == 1
    assert "accept failed once: " in caplog.messages[0]
    clock.now_s += 1
    shortages.tell()
    shortages.tell()
    assert len(caplog.records) == 2
    assert "accept failed 4 times: " in caplog.messages[1]


def test_different_failures_share_a_line(shortages: Shortages, clock: Clock, caplog: Logged) -> None:
    shortages.note("accept", errno.EMFILE)
    for port in range(6):
        shortages.note("connect", errno.EADDRNOTAVAIL, f"10.0.0.1:{port}")
    clock.now_s += 1
    shortages.tell()
    assert caplog.messages[1].count("; also ") == 4
    assert "2 other kinds of failures are not listed" in caplog.messages[1]


def test_a_line_has_the_number_and_what_to_do(caplog: Logged) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    said = describe("connect", "10.0.0.1:80", errno.EMFILE, 3)
    assert said.startswith(f"connect to 10.0.0.1:80 failed 3 times: all {soft} descriptors")
    assert "LimitNOFILE=" in said
    assert said.endswith("get 503 no_resources")
    assert "net.ipv4.ip_local_port_range: " in describe("connect", "10.0.0.1:80", errno.EADDRNOTAVAIL, 1)
    assert "fs.file-max" in describe("accept", "", errno.ENFILE, 1)
    assert "fs.epoll.max_user_watches" in describe("watch", "", errno.ENOSPC, 1)
    assert "MiB" in describe("accept", "", errno.ENOBUFS, 1)
    assert os.strerror(errno.EPERM) in describe("accept", "", errno.EPERM, 1)


def test_no_descriptor_is_needed_to_say_it(shortages: Shortages, caplog: Logged) -> None:
    former = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, former[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.open("/dev/null", os.O_RDONLY)
        shortages.note("connect", errno.EADDRNOTAVAIL, "10.0.0.1:80")
        for error in REASONS:
            describe("accept", "", error, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, former)
    assert "ip_local_port_range: unknown" in caplog.text
