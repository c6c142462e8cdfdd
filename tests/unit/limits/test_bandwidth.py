"""How long bytes wait under a bandwidth limit, on a clock that the tests keep."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest

from shardproxy.limits.bandwidth import LONGEST_WAIT_NS, Allowance, Bandwidth
from shardproxy.limits.keys import Key
from shardproxy.proxy.pacing import BandwidthPlan
from shardproxy.shm.keyed import KeyedBuckets
from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment

NOW = 10**12
SECOND = 10**9
KIB, MIB = 1 << 10, 1 << 20
HEADER = Key([("header", b"X-Key", 0, 0)])
BURST = 100 * KIB


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment.create(Capacities(rows=16, counters=16, buckets=8, key_tables=2, keys=1024))
    made.rows_used = 16
    yield made
    made.close()


@pytest.fixture
def metrics(segment: Segment) -> Metrics:
    return Metrics(segment, 1)


def of_connections(rate: int = MIB, burst: int = BURST) -> Bandwidth:
    return Bandwidth("each", rate, burst)


def of_keys(segment: Segment, rate: int = MIB, burst: int = BURST, key: Key | None = HEADER) -> Bandwidth:
    table = KeyedBuckets(segment, 0, 1024, rate / KIB, -(-burst // KIB), LONGEST_WAIT_NS)
    return Bandwidth("keyed", rate, burst, keyed=table, key=key, evicted=0)


def test_what_is_in_the_burst_does_not_wait(metrics: Metrics) -> None:
    assert of_connections().waits(NOW, [BURST], metrics, allowance=Allowance()) == [0]


def test_more_waits_for_its_time_exactly(metrics: Metrics) -> None:
    waits = of_connections().waits(NOW, [BURST, MIB // 4, MIB // 2], metrics, allowance=Allowance())
    assert waits == [0, SECOND // 4, 3 * SECOND // 4]


def test_a_pause_fills_the_bucket_and_no_more(metrics: Metrics) -> None:
    limit, own = of_connections(), Allowance()
    limit.waits(NOW, [BURST], metrics, allowance=own)
    assert limit.waits(NOW + 60 * SECOND, [BURST, MIB], metrics, allowance=own) == [0, SECOND]


def test_each_connection_has_its_own(metrics: Metrics) -> None:
    limit = of_connections()
    assert [limit.waits(NOW, [BURST], metrics, allowance=Allowance()) for _ in range(3)] == [[0]] * 3


def test_keys_do_not_share_and_connections_of_one_key_do(segment: Segment, metrics: Metrics) -> None:
    limit = of_keys(segment)
    assert limit.waits(NOW, [BURST], metrics, b"one") == [0]
    assert limit.waits(NOW, [BURST], metrics, b"two") == [0]
    wait = limit.waits(NOW, [64 * KIB], metrics, b"one")[0]
    assert abs(wait - SECOND // 16) < 10_000


def test_without_a_key_all_share(segment: Segment, metrics: Metrics) -> None:
    limit = of_keys(segment, key=None)
    assert limit.waits(NOW, [BURST], metrics) == [0]
    assert limit.waits(NOW, [KIB], metrics)[0] > 0


def test_a_limit_that_owes_ten_seconds_takes_no_more_and_says_when_to_ask(segment: Segment, metrics: Metrics) -> None:
    for limit, own in ((of_connections(), Allowance()), (of_keys(segment), None)):
        waits = limit.waits(NOW, [BURST // 2] * 250, metrics, b"k", own)
        taken = [wait for wait in waits if wait >= 0]
        assert max(taken) <= LONGEST_WAIT_NS < max(taken) + SECOND / 20
        assert waits[len(taken) :] and all(-SECOND / 10 < wait < 0 for wait in waits[len(taken) :])
        retry = NOW - waits[-1] + 1000
        assert limit.waits(retry, [BURST // 2], metrics, b"k", own)[0] >= 0


@pytest.mark.parametrize("kind", ["connection", "key"])
@pytest.mark.parametrize("rate", [2 * KIB, 1_000_003, 400 * MIB])
def test_whatever_comes_whenever_the_bytes_that_go_never_run_ahead(
    kind: str, rate: int, segment: Segment, metrics: Metrics
) -> None:
    """Over any window: at most rate * window + burst, and while there is demand not less either."""
    burst = max(KIB, rate // 10) // KIB * KIB
    limit = of_connections(rate, burst) if kind == "connection" else of_keys(segment, rate, burst)
    drawn, own, now, gone = random.Random(rate), Allowance(), NOW, [(NOW, 0)]
    for _ in range(500):
        size = drawn.randint(1, limit.piece)
        wait = limit.waits(now, [size], metrics, b"k", own)[0]
        assert wait >= 0
        now += wait
        gone.append((now, size))
        now += drawn.choice((0, 0, 0, SECOND // 100))  # as timers are late
    slack = 0.001 * burst + 2
    sums = list(itertools.accumulate(size for _, size in gone))
    for start in range(0, 500, 25):
        for end in range(start + 1, 501):
            window = (gone[end][0] - gone[start + 1][0]) / SECOND
            assert sums[end] - sums[start] <= rate * window * 1.0001 + burst + slack
    assert sums[-1] >= rate * (gone[-1][0] - NOW) / SECOND * 0.999 - burst


def test_a_piece_is_what_a_fortieth_of_a_second_brings_but_not_next_to_nothing() -> None:
    assert of_connections(MIB).piece == MIB // 40
    assert of_connections(KIB, KIB).piece == 512


def test_what_makes_no_limit_is_refused(segment: Segment) -> None:
    for rate, burst in ((0, 1), (1, 0), (-1, 1)):
        with pytest.raises(ValueError, match="above 0"):
            Bandwidth("wrong", rate, burst)
    with pytest.raises(ValueError, match="a key needs a table"):
        Bandwidth("wrong", 1, 1, key=HEADER)
    with pytest.raises(ValueError, match="at most 8"):
        BandwidthPlan(down=[of_connections()] * 9)
    with pytest.raises(TypeError):
        BandwidthPlan(up=["fast"])  # type: ignore[list-item]
