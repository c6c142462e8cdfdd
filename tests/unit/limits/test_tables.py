"""What the buckets of limits become when a reload changes the numbers of a limit, or what it is kept by."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shardproxy.config.adaptive import AdaptiveRate
from shardproxy.config.bandwidth import BandwidthLimit
from shardproxy.config.limits import LimitKey, LimitOverride, RateLimit, key_text
from shardproxy.config.schema import Config
from shardproxy.limits.tables import bandwidth_table_of, bucket_of, override_bucket_of, set_rates, table_of
from shardproxy.shm.layout import Capacities
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots

NOW, SECOND, KIB = 10**15, 10**9, 1024
PER_HOUR = 1 / 3600
CLIENT = LimitKey(address="client_ip")


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment.create(Capacities(rows=16, buckets=10, key_tables=10, keys=64))
    yield made
    made.close()


@pytest.fixture
def slots(segment: Segment) -> Slots:
    return Slots(segment.capacities)


def configured(*limits: RateLimit | BandwidthLimit) -> Config:
    return Config(
        listeners=(),
        clusters=(),
        rate_limits=tuple(one for one in limits if isinstance(one, RateLimit)),
        bandwidth_limits=tuple(one for one in limits if isinstance(one, BandwidthLimit)),
    )


def limit(rate: float, key: LimitKey | None = None, **options: object) -> RateLimit:
    return RateLimit(name="each", rate=rate, burst=5, key=key, keys=64, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("after", [11 * PER_HOUR, PER_HOUR, 1000.0])
def test_every_bucket_of_a_limit_goes_on_from_what_it_holds(segment: Segment, slots: Slots, after: float) -> None:
    vip = LimitOverride(key="10.0.0.1", rate=20 * PER_HOUR, burst=7)
    former, later = limit(10 * PER_HOUR, CLIENT, overrides=(vip,)), limit(after, CLIENT, overrides=(vip,))
    plain = RateLimit(name="all", rate=10 * PER_HOUR, burst=5), RateLimit(name="all", rate=after, burst=5)
    set_rates(configured(former, plain[0]), segment, slots, NOW)
    assert table_of(former, segment, slots).take(b"client", NOW, 3) == 0
    assert override_bucket_of(former, vip, segment, slots).take(NOW, 6) == 0
    assert bucket_of(plain[0], segment, slots).take(NOW, 4) == 0
    faster_vip = LimitOverride(key="10.0.0.1", rate=40 * PER_HOUR, burst=7)
    set_rates(configured(later, plain[1]), segment, slots, NOW)
    set_rates(configured(limit(after, CLIENT, overrides=(faster_vip,)), plain[1]), segment, slots, NOW)
    table = table_of(later, segment, slots)
    assert [table.take(b"client", NOW) == 0 for _ in range(3)] == [True, True, False]
    assert override_bucket_of(later, faster_vip, segment, slots).tokens(NOW) == pytest.approx(1)
    assert override_bucket_of(later, faster_vip, segment, slots).rate_per_s == pytest.approx(40 * PER_HOUR)
    assert bucket_of(plain[1], segment, slots).tokens(NOW) == pytest.approx(1)


@pytest.mark.parametrize("key", [None, CLIENT])
def test_a_bandwidth_limit_goes_on_from_what_it_holds_each_way(
    segment: Segment, slots: Slots, key: LimitKey | None
) -> None:
    def bandwidth(down: int) -> BandwidthLimit:
        return BandwidthLimit(name="each", down=down * KIB, up=KIB, burst=8 * KIB, key=key, keys=64)

    set_rates(configured(bandwidth(1)), segment, slots, NOW)
    for direction, rate in (("down", KIB), ("up", KIB)):
        assert bandwidth_table_of(bandwidth(1), direction, rate, segment, slots).take(b"a", NOW, 8) == 0
    set_rates(configured(bandwidth(4)), segment, slots, NOW)
    table = bandwidth_table_of(bandwidth(4), "down", 4 * KIB, segment, slots)
    assert table.reserve(b"a", NOW) == pytest.approx(SECOND / 4, rel=2e-3)
    table = bandwidth_table_of(bandwidth(4), "up", KIB, segment, slots)
    assert table.reserve(b"a", NOW) == pytest.approx(SECOND, rel=2e-3)


def test_a_limit_that_each_connection_has_for_itself_needs_no_table(segment: Segment, slots: Slots) -> None:
    set_rates(configured(BandwidthLimit(name="own", down=KIB, per_connection=True)), segment, slots, NOW)
    assert slots.names("table") == {}


def test_a_configuration_that_is_only_prepared_changes_no_rate(segment: Segment, slots: Slots) -> None:
    served, prepared = limit(PER_HOUR, CLIENT), limit(1000.0, CLIENT)
    set_rates(configured(served), segment, slots, NOW)
    assert table_of(prepared, segment, slots).take(b"client", NOW, 5) == 0
    assert table_of(prepared, segment, slots).take(b"client", NOW + 60 * SECOND) > 60 * SECOND


def test_a_limit_that_is_kept_by_something_else_reads_nobody_s_buckets(segment: Segment, slots: Slots) -> None:
    fields = LimitKey(header="X-Key"), LimitKey(cookie="X-Key"), LimitKey(query="X-Key")
    for key in (CLIENT, *fields, LimitKey(path="/a/{b}")):
        vip = LimitOverride(key="10.0.0.1", rate=PER_HOUR, burst=5)
        kept = limit(PER_HOUR, key, overrides=(vip,))
        set_rates(configured(kept), segment, slots, NOW)
        assert table_of(kept, segment, slots).take(b"10.0.0.1", NOW, 5) == 0
        assert override_bucket_of(kept, vip, segment, slots).take(NOW, 5) == 0


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (LimitKey(header="X-Key"), LimitKey(header="x-key"), True),
        (LimitKey(path="/a/{b}"), LimitKey(path="/a/{c}/d"), True),
        (LimitKey(header="a", ipv4_prefix=8), LimitKey(header="a"), True),
        (CLIENT, LimitKey(address="client_ip", ipv4_prefix=24), False),
        (CLIENT, LimitKey(address="client_ip", ipv6_prefix=48), False),
        (LimitKey(cookie="A"), LimitKey(cookie="a"), False),
        (LimitKey(header="a"), LimitKey(query="a"), False),
        (LimitKey(header="a"), LimitKey(header="a", cookie="a"), False),
        (CLIENT, None, False),
    ],
)
def test_keys_that_read_the_same_of_a_request_are_called_the_same(
    one: LimitKey, other: LimitKey | None, is_same: bool
) -> None:
    assert (key_text(one) == key_text(other)) is is_same


def test_an_adaptive_limit_keeps_how_full_it_is_when_the_rate_it_began_with_changes(
    segment: Segment, slots: Slots
) -> None:
    rules = AdaptiveRate(cluster="app", min=1.0, max=100.0)
    set_rates(configured(limit(10.0, adaptive=rules)), segment, slots, NOW)
    bucket = bucket_of(limit(10.0, adaptive=rules), segment, slots)
    assert bucket.take(NOW, 5) == 0
    set_rates(configured(limit(20.0, adaptive=rules)), segment, slots, NOW)
    assert bucket.take(NOW + SECOND // 2 - SECOND // 20, 1) == 0
    assert bucket.take(NOW + SECOND // 2 - SECOND // 20, 5) > 0
