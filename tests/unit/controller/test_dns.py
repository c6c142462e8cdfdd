"""Endpoints from DNS, asked of a real server on the loopback: what is found, for how long, and what is no answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from shardproxy.config.schema import Dns, Endpoint
from shardproxy.config.units import parse_address
from shardproxy.controller.discovery.changes import Changes
from shardproxy.controller.discovery.dns import FIRST_PAUSE_S, MOST_TARGETS, MOST_WEIGHT, DnsName, Lookup
from shardproxy.controller.discovery.source import NotFound
from tests.nameserver import Nameserver, nameserver
from tests.unit.controller.shortage import no_descriptors_left

S = 10**9
NOBODY = Changes(lambda: NotImplemented, lambda *_: NotImplemented)


@pytest.fixture
def server() -> Iterator[Nameserver]:
    with nameserver() as running:
        yield running


def source(server: Nameserver, name: str = "dns://app.test:80", **terms: Any) -> DnsName:
    terms = {"timeout": 5 * S, "min_ttl": 2 * S, "max_ttl": 60 * S, **terms}
    dns = Dns(name=name, resolver=parse_address(server.address), **terms)
    return DnsName("app", dns, NOBODY)


def found(source: DnsName) -> dict[str, tuple[int, int]]:
    """Weight and priority by address, in the order of the answer."""
    endpoints = asyncio.run(source.ask())
    assert endpoints is not None
    return {str(each.address): (each.weight, each.priority) for each in endpoints}


def problem(source: DnsName) -> str:
    with pytest.raises(NotFound) as caught:
        asyncio.run(source.ask())
    return str(caught.value)


def test_addresses_of_both_kinds_are_endpoints_at_the_port_that_is_written(server: Nameserver) -> None:
    server.table = {("app.test", "A"): ["10.0.0.2", "10.0.0.1"], ("app.test", "AAAA"): ["fd00::1"]}
    assert list(found(source(server))) == ["10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"]
    assert set(found(source(server)).values()) == {(1, 0)}


def test_one_kind_of_address_is_enough(server: Nameserver) -> None:
    server.table = {("app.test", "AAAA"): ["fd00::1"]}
    assert list(found(source(server))) == ["[fd00::1]:80"]


def srv(server: Nameserver, *records: str) -> dict[str, tuple[int, int]]:
    server.table[("_http._tcp.app.test", "SRV")] = list(records)
    return found(source(server, "dns+srv://_http._tcp.app.test"))


def test_services_have_their_ports_weights_and_priorities(server: Nameserver) -> None:
    server.table = {("a.test", "A"): ["10.0.0.1"], ("b.test", "A"): ["10.0.0.2"], ("c.test", "A"): ["10.0.0.3"]}
    assert srv(server, "10 5 8001 a.test.", "10 0 8002 b.test.", "30 7000 8003 c.test.") == {
        "10.0.0.1:8001": (5, 0),
        "10.0.0.2:8002": (1, 0),
        "10.0.0.3:8003": (MOST_WEIGHT, 1),
    }


def test_services_without_any_weight_share_evenly_and_a_dot_is_no_target(server: Nameserver) -> None:
    server.table = {("a.test", "A"): ["10.0.0.1"]}
    assert srv(server, "0 0 8001 a.test.", "0 9 0 .", "0 0 8002 a.test.") == {
        "10.0.0.1:8001": (1, 0),
        "10.0.0.1:8002": (1, 0),
    }


def test_a_name_that_a_service_has_twice_is_one_endpoint(server: Nameserver) -> None:
    server.table = {("a.test", "A"): ["10.0.0.1"], ("b.test", "A"): ["10.0.0.1"]}
    assert list(srv(server, "0 0 80 a.test.", "0 0 80 b.test.")) == ["10.0.0.1:80"]


def test_of_more_targets_than_256_the_rest_is_left_out(
    server: Nameserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST_TARGETS == 256
    monkeypatch.setattr("shardproxy.controller.discovery.dns.MOST_TARGETS", 2)
    server.table = {("a.test", "A"): ["10.0.0.1"]}
    assert len(srv(server, *(f"0 0 {port} a.test." for port in (1, 2, 3)))) == 2


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("dns://nobody.test:80", "dns://nobody.test:80: there is no such name"),
        ("dns://mail.test:80", "dns://mail.test:80: the name has no addresses"),
        ("dns+srv://_http._tcp.mail.test", "dns+srv://_http._tcp.mail.test: there is no such name"),
    ],
)
def test_a_name_without_an_address_is_no_answer(name: str, told: str, server: Nameserver) -> None:
    server.table = {("mail.test", "MX"): ["10 a.test."]}
    assert problem(source(server, name)) == told


def test_a_resolver_that_is_silent_is_not_waited_for_beyond_the_timeout(server: Nameserver) -> None:
    server.is_silent = True
    assert problem(source(server, timeout=S // 10)) == "dns://app.test:80: the resolver does not answer"


def test_a_resolver_that_refuses_is_told_from_one_that_is_silent(server: Nameserver) -> None:
    server.is_refusing = True
    assert problem(source(server)) == "dns://app.test:80: the resolver refuses, or fails"


@pytest.mark.parametrize(
    ("error", "told"), [(OSError("the network is down"), "the network is down"), (ConnectionError(), "ConnectionError")]
)
def test_any_other_problem_is_told_by_its_text_or_kind(
    error: Exception, told: str, server: Nameserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Lookup, "addresses", fail)
    assert problem(source(server)) == f"dns://app.test:80: {told}"


def test_without_a_descriptor_to_ask_with_there_is_no_answer_and_soon_another_question(server: Nameserver) -> None:
    server.table = {("app.test", "A"): ["10.0.0.1"]}
    for asked in (source(server), DnsName("app", Dns(name="dns://app.test:80"), NOBODY)):

        async def story(asked: DnsName = asked) -> None:
            with no_descriptors_left(), pytest.raises(NotFound):
                await asked.ask()

        asyncio.run(story())
        assert asked.pause_s() <= FIRST_PAUSE_S
    assert list(found(source(server))) == ["10.0.0.1:80"]


def test_a_lost_question_is_asked_again_within_the_timeout(server: Nameserver) -> None:
    server.is_silent = True
    asked = source(server, timeout=S // 5)
    assert asked.name == "dns://app.test:80"
    lookup = Lookup(Dns(name="dns://app.test:80", resolver=parse_address(server.address), timeout=10 * S))
    assert lookup._resolver.timeout == 1.0
    lookup = Lookup(Dns(name="dns://app.test:80", resolver=parse_address(server.address), timeout=S // 5))
    assert lookup._resolver.timeout == 0.2


def test_without_a_resolver_the_machines_own_are_asked() -> None:
    ours = Lookup(Dns(name="dns://a.test:80", resolver=parse_address("127.0.0.1:5353")))
    machines = Lookup(Dns(name="dns://a.test:80"))
    assert (ours._resolver.nameservers, ours._resolver.port) == (["127.0.0.1"], 5353)
    assert machines._resolver.port == 53
    assert machines._resolver.nameservers != []


def test_it_is_asked_again_when_the_time_to_live_is_over_within_the_bounds(server: Nameserver) -> None:
    server.table = {("app.test", "A"): ["10.0.0.1"]}
    for ttl_s, pause_s in ((30, 30.0), (1, 2.0), (3600, 60.0)):
        server.ttl_s = ttl_s
        asked = source(server)
        asyncio.run(asked.ask())
        assert asked.pause_s() == pause_s


def test_after_failures_it_waits_twice_as_long_each_time_up_to_the_longest_ttl(server: Nameserver) -> None:
    asked = source(server, max_ttl=3 * S, min_ttl=S)
    pauses = []
    for _ in range(40):
        problem(asked)
        pauses.append([asked.pause_s() for _ in range(20)])
    for longest, found_s in zip((FIRST_PAUSE_S, 1.0, 2.0, 3.0), pauses, strict=False):
        assert max(found_s) <= longest
        assert min(found_s) >= 0.8 * longest
        assert len(set(found_s)) > 1
    assert max(pauses[-1]) <= 3.0
    server.table = {("app.test", "A"): ["10.0.0.1"]}
    asyncio.run(asked.ask())
    assert asked.pause_s() == 1.0
    server.table = {}
    problem(asked)
    assert asked.pause_s() <= FIRST_PAUSE_S


def test_an_empty_answer_is_a_failure_like_silence(server: Nameserver) -> None:
    server.table = {("app.test", "MX"): ["10 a.test."]}
    asked = source(server)
    for longest in (FIRST_PAUSE_S, 2 * FIRST_PAUSE_S):
        problem(asked)
        assert 0.8 * longest <= asked.pause_s() <= longest


def test_an_endpoint_found_is_like_one_that_is_written(server: Nameserver) -> None:
    server.table = {("app.test", "A"): ["10.0.0.1"]}
    assert asyncio.run(source(server).ask()) == (Endpoint(address=parse_address("10.0.0.1:80")),)
