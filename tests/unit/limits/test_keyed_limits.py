"""Limits that are kept by key, that cost more or less, that delay, and that only look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from shardproxy.http1.head import Head
from shardproxy.limits.keys import Key
from shardproxy.limits.rates import RateLimit, RateLimits
from shardproxy.shm.buckets import TICKS_PER_S, Bucket, Buckets
from shardproxy.shm.keyed import KeyedBuckets
from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment
from shardproxy.shm.words import Words

NOW = 10**12
SECOND = 10**9
ADMITTED, REFUSED, DELAYED, EVICTED = range(4)
CLIENT = Key([("client", b"", 32, 64)])
HEADER = Key([("header", b"X-Key", 0, 0)])


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment.create(Capacities(rows=16, counters=16, buckets=8, key_tables=2, keys=1024))
    made.rows_used = 16
    yield made
    made.close()


def head(*fields: bytes, target: bytes = b"/") -> Head:
    read = Head()
    assert read.read(b"\r\n".join((b"GET %b HTTP/1.1" % target, b"Host: a.test", *fields, b"", b""))) == "ok"
    return read


def keyed(segment: Segment, key: Key, *, rate: float = 1, burst: int = 2, **options: Any) -> RateLimits:
    buckets = KeyedBuckets(segment, 0, 1024, rate, burst, options.get("patience_ns", 0))
    limit = RateLimit(None, ADMITTED, REFUSED, keyed=buckets, key=key, delayed=DELAYED, evicted=EVICTED, **options)
    return RateLimits([limit], Metrics(segment, 1))


def shared(segment: Segment, *, rate: float = 1, burst: int = 2, **options: Any) -> RateLimits:
    bucket = Bucket(Buckets(segment), 0, rate, burst)
    return RateLimits([RateLimit(bucket, ADMITTED, REFUSED, delayed=DELAYED, **options)], Metrics(segment, 1))


def admitted(limits: RateLimits, times: int, *fields: bytes, client: bytes = b"", target: bytes = b"/") -> int:
    request = head(*fields, target=target)
    return sum(limits.ask(NOW, request, client)[0] < 0 for _ in range(times))


def test_each_client_address_has_a_bucket_of_its_own(segment: Segment) -> None:
    limits = keyed(segment, CLIENT)
    assert [admitted(limits, 5, client=client) for client in (b"192.0.2.1", b"192.0.2.2", b"2001:db8::1")] == [2, 2, 2]


def test_addresses_of_one_network_share_a_bucket(segment: Segment) -> None:
    limits = keyed(segment, Key([("client", b"", 24, 64)]))
    assert admitted(limits, 2, client=b"192.0.2.1") == 2
    assert admitted(limits, 1, client=b"192.0.2.200") == 0
    assert admitted(limits, 1, client=b"192.0.3.1") == 1
    assert admitted(limits, 2, client=b"2001:db8::1") == 2
    assert admitted(limits, 1, client=b"2001:db8::ffff:1") == 0


def test_a_prefix_that_ends_within_an_octet_counts_exactly_its_bits(segment: Segment) -> None:
    limits = keyed(segment, Key([("client", b"", 28, 64)]), burst=1)
    assert [admitted(limits, 1, client=b"192.0.2.%d" % last) for last in (0, 15, 16)] == [1, 0, 1]


def test_an_ipv4_mapped_address_is_the_ipv4_address(segment: Segment) -> None:
    limits = keyed(segment, CLIENT, burst=1)
    assert [admitted(limits, 1, client=client) for client in (b"192.0.2.1", b"::ffff:192.0.2.1")] == [1, 0]


def test_a_request_without_the_key_is_not_limited(segment: Segment) -> None:
    assert admitted(keyed(segment, HEADER), 50) == 50
    assert admitted(keyed(segment, CLIENT), 50, client=b"unix") == 50


def test_several_parts_make_one_key(segment: Segment) -> None:
    limits = keyed(segment, Key([("client", b"", 32, 64), ("query", b"u", 0, 0)]), burst=1)
    tries = [(b"192.0.2.1", b"/?u=a"), (b"192.0.2.1", b"/?u=b"), (b"192.0.2.2", b"/?u=a"), (b"192.0.2.1", b"/?u=a")]
    assert [admitted(limits, 1, client=client, target=target) for client, target in tries] == [1, 1, 1, 0]


def test_parts_that_only_join_to_the_same_text_are_different_keys(segment: Segment) -> None:
    limits = keyed(segment, Key([("header", b"a", 0, 0), ("header", b"b", 0, 0)]), burst=1)
    assert [admitted(limits, 1, *fields) for fields in ((b"a: xy", b"b: z"), (b"a: x", b"b: yz"))] == [1, 1]


def test_a_key_may_have_a_limit_of_its_own(segment: Segment) -> None:
    override = (HEADER.hash_of(segment.secret, b"good"), Bucket(Buckets(segment), 1, 1, 7))
    limits = keyed(segment, HEADER, overrides=[override])
    assert [admitted(limits, 20, b"X-Key: " + key) for key in (b"good", b"other")] == [7, 2]


def test_the_override_of_an_address_is_found_however_the_address_is_written(segment: Segment) -> None:
    override = (CLIENT.hash_of(segment.secret, b"2001:db8:0:0::1"), Bucket(Buckets(segment), 1, 1, 7))
    assert admitted(keyed(segment, CLIENT, overrides=[override]), 20, client=b"2001:DB8::1") == 7


def test_the_cost_is_what_the_field_says_within_bounds(segment: Segment) -> None:
    limits = shared(segment, burst=100, cost=10, cost_field=b"x-cost")
    spent = []
    for value in (b"3", b"99", b"0", b"-1", b"1e3", b"9999999999"):
        before = limits.limits[0].bucket.tokens(NOW)
        limits.ask(NOW, head(b"X-Cost: " + value))
        spent.append(round(before - limits.limits[0].bucket.tokens(NOW)))
    assert spent == [3, 10, 1, 1, 1, 1]


@pytest.mark.parametrize("make", [shared, keyed])
def test_a_response_is_charged_by_its_bytes_afterwards(segment: Segment, make: Any) -> None:
    options = {"key": HEADER} if make is keyed else {}
    limits = make(segment, burst=10, bytes_per_token=1000, **options)
    request = head(b"X-Key: a")
    assert limits.ask(NOW, request) == (-1, 0)
    limits.charge(NOW, 8999, request)
    assert limits.ask(NOW, request) == (-1, 0)
    assert limits.ask(NOW, request)[0] == 0
    limits.charge(NOW, 10**12, request)
    assert limits.ask(NOW + 2 * SECOND, request) == (-1, 0), "a bucket never gets emptier than empty"


@pytest.mark.parametrize("make", [shared, keyed])
def test_who_would_be_admitted_soon_is_admitted_and_told_to_wait(segment: Segment, make: Any) -> None:
    options = {"key": HEADER} if make is keyed else {}
    limits = make(segment, rate=10, burst=1, patience_ns=SECOND // 4, **options)
    answers = [limits.ask(NOW, head(b"X-Key: a")) for _ in range(4)]
    assert [refused_by for refused_by, _ in answers] == [-1, -1, -1, 0]
    assert [round(wait / SECOND, 2) for _, wait in answers] == [0, 0.1, 0.2, 0.05]
    assert Metrics(segment, 2).counter_total(DELAYED) == 2


def test_a_dry_limit_refuses_nothing_and_counts_what_it_would(segment: Segment) -> None:
    limits = shared(segment, is_dry=True)
    assert [limits.ask(NOW) for _ in range(5)] == [(-1, 0)] * 5
    metrics = Metrics(segment, 2)
    assert (metrics.counter_total(ADMITTED), metrics.counter_total(REFUSED)) == (5, 3)


def test_when_one_refuses_a_key_gets_its_token_back(segment: Segment) -> None:
    by_key = RateLimit(
        None, ADMITTED, REFUSED, keyed=KeyedBuckets(segment, 0, 1024, 1, 1), key=HEADER, evicted=EVICTED
    )
    whole = RateLimit(Bucket(Buckets(segment), 0, 1, 1), 4, 5, delayed=6)
    both = RateLimits([by_key, whole], Metrics(segment, 1))
    assert [both.ask(NOW, head(b"X-Key: " + key))[0] for key in (b"a", b"b")] == [-1, 1]
    assert RateLimits([by_key], Metrics(segment, 1)).ask(NOW, head(b"X-Key: b"))[0] == -1


def test_a_segment_of_the_path_is_a_key_whatever_follows(segment: Segment) -> None:
    limits = keyed(segment, Key([("path", b"/users/", 0, 0)]))
    targets = [b"/users/7", b"/users/7/posts", b"/users/7?page=2", b"/users/8", b"/users", b"/users/", b"/other/7"]
    assert [admitted(limits, 2, target=target) for target in targets] == [2, 0, 0, 2, 2, 2, 2]


def test_a_rate_follows_the_interval_that_is_published_and_its_burst_lasts_as_long(segment: Segment) -> None:
    words = Words(segment)
    limits = shared(segment, rate=1000, burst=100, words=words, interval=0)
    assert admitted(limits, 200) == 100
    words.store(0, TICKS_PER_S // 500)
    request, later = head(), NOW + SECOND
    assert sum(limits.ask(later, request)[0] < 0 for _ in range(200)) == 50
    words.store(0, TICKS_PER_S // 5)
    assert limits.ask(later + SECOND, request)[0] < 0
    assert limits.ask(later + SECOND, request)[1] == pytest.approx(SECOND / 5, rel=0.01)
