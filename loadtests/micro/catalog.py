"""The operations that are counted: a name, what is done, and how it is prepared.

Everything is fixed, so that the same code runs the same instructions: the heads, the paths, the order of keys. Paths
and keys are taken in turn from a power of two of them, a divisor of how often an operation is repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtests.micro.operations import (
    FindRoute,
    Operation,
    Pick,
    PickHashed,
    ReadChunked,
    ScanHead,
    SpliceHead,
    TakeKeyedToken,
    TakeToken,
)
from shardproxy.balancing.cluster import Cluster, EndpointSpec
from shardproxy.routing.table import Entry, Path, Table
from shardproxy.shm.buckets import Bucket, Buckets
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.keyed import KeyedBuckets
from shardproxy.shm.layout import Capacities
from shardproxy.shm.segment import Segment
from shardproxy.shm.words import Words

if TYPE_CHECKING:
    from shardproxy.balancing.cluster import Policy

SEED = 7
TURNS = 64  # paths or keys that are used in turn
SERVICES = 100
WHOLE_CLUSTER, TURN_WORD = 500, 999  # a gauge and a word that no endpoint has
CAPACITIES = Capacities(rows=16, gauges=512, counters=16, histograms=1, buckets=16, words=1000, keys=4096, key_tables=1)


@dataclass(frozen=True)
class Counted:
    """One operation of the table; `prepare` is given a fresh segment."""

    name: str
    meaning: str
    prepare: Callable[[Segment], Operation]


NOTHING = Counted("nothing", "the loop itself; taken off all others", lambda _: Operation())

_BROWSER = (
    b"Host: www.example.com",
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    b"Accept-Language: en-US,en;q=0.5",
    b"Accept-Encoding: gzip, deflate, br, zstd",
    b"Connection: keep-alive",
    b"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark",
    b"Cache-Control: no-cache",
)
_ORIGIN = (
    b"Server: nginx",
    b"Date: Sun, 06 Nov 1994 08:49:37 GMT",
    b"Content-Type: text/html; charset=utf-8",
    b"Content-Length: 1024",
    b"Last-Modified: Sat, 05 Nov 1994 08:49:37 GMT",
    b"Connection: keep-alive",
    b'ETag: "36b1-7d2c61d2"',
    b"Accept-Ranges: bytes",
)


def request_head(fields: int) -> bytes:
    """What a browser sends, with as many further fields as are asked for."""
    more = (b"X-Field-%02d: value-of-the-field-%02d" % (number, number) for number in range(fields - len(_BROWSER)))
    return b"\r\n".join((b"GET /shop/items/4711?color=red HTTP/1.1", *_BROWSER, *more, b"", b""))


def response_head() -> bytes:
    return b"\r\n".join((b"HTTP/1.1 200 OK", *_ORIGIN, b"", b""))


def chunked_body(chunks: int, size: int) -> bytes:
    return b"%x\r\n%s\r\n" % (size, b"x" * size) * chunks + b"0\r\n\r\n"


def route_lookup(count: int) -> FindRoute:
    """Prefix routes of a hundred services; the paths asked for are spread over all of them."""
    prefixes = [b"/service%d/v%d/" % (number % SERVICES, number // SERVICES) for number in range(count)]
    table = Table([Entry((), (Path((prefix,), is_prefix=True),)) for prefix in prefixes])
    return FindRoute(table, [prefixes[number * 7919 % count] + b"items/7" for number in range(TURNS)])


def cluster(segment: Segment, endpoints: int, policy: Policy) -> Cluster:
    names = [b"10.0.0.%d:80" % number for number in range(endpoints)]
    specs = [EndpointSpec(number, 1, None, name=name, latency=number) for number, name in enumerate(names)]
    return Cluster(
        Gauges(segment, 0),
        specs,
        policy=policy,
        requests=WHOLE_CLUSTER,
        requests_cap=None,
        seed=SEED,
        words=Words(segment),
        turn=TURN_WORD,
    )


def keyed(segment: Segment) -> TakeKeyedToken:
    buckets = KeyedBuckets(segment, 0, CAPACITIES.keys, rate_per_s=100_000, burst=1000)
    return TakeKeyedToken(buckets, [b"192.0.2.%d" % number for number in range(TURNS)])


def scan(fields: int) -> Counted:
    source = request_head(fields)
    return Counted(f"request head, {fields} fields", "scan, frame", lambda _: ScanHead(source, is_request=True))


def splice(name: str, head: bytes, *, is_request: bool) -> Counted:
    return Counted(f"{name} onward, 8 fields", "write", lambda _: SpliceHead(head, is_request=is_request))


def find(count: int) -> Counted:
    return Counted(f"route of {count:,}".replace(",", " "), "find by path", lambda _: route_lookup(count))


def pick(policy: Policy, endpoints: int) -> Counted:
    kind = PickHashed if policy == "maglev" else Pick
    return Counted(
        f"{policy} of {endpoints}", "choose, give back", lambda segment: kind(cluster(segment, endpoints, policy))
    )


OPERATIONS: tuple[Counted, ...] = (
    scan(8),
    scan(64),
    Counted("response head, 8 fields", "scan, frame", lambda _: ScanHead(response_head(), is_request=False)),
    splice("request", request_head(8), is_request=True),
    splice("response", response_head(), is_request=False),
    Counted("chunked body, 16 chunks", "read 16 000 bytes", lambda _: ReadChunked(chunked_body(16, 1000))),
    find(1),
    find(1_000),
    find(10_000),
    pick("least_connection", 2),
    pick("least_connection", 100),
    pick("round_robin", 2),
    pick("round_robin", 100),
    pick("maglev", 2),
    pick("maglev", 100),
    Counted("bucket for all", "take", lambda segment: TakeToken(Bucket(Buckets(segment), 0, 100_000, 100))),
    Counted("bucket by key", "hash the key, take", keyed),
)
