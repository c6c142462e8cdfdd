"""How connections end: what is waited for, for how long, and what a peer may send that ends it."""

from __future__ import annotations

import random

import pytest

from tests.inprocess.world import Peer, World

PLAIN = """
listeners:
  - bind: 127.0.0.1:8080
    max_head: 4KiB
    timeouts: {{idle: 5s}}
    routes:
      - {{match: {{prefix: /}}, cluster: app, timeout: {timeout}{route}}}
clusters:
  - {{name: app, endpoints: [127.0.0.1:9001]}}
"""
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LINGER_S, LINGER_BYTES = 2.0, 1 << 20
CLOSING_S, IDLE_S = 10.0, 5.0
TICKS_S = 0.2  # timers are late by two ticks at most
MOST_INTERIMS = 16


def ok(size: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, b"x" * size)


def plain(timeout: str = "5s", route: str = "") -> World:
    return World(PLAIN.format(timeout=timeout, route=route))


def clients(world: World) -> list[str]:
    """What they are doing."""
    return [repr(client).rstrip(">").split(" unknown ")[1] for client in world.process.clients]


def test_a_refused_client_that_stays_is_cut_when_it_has_lingered_long_enough() -> None:
    with plain() as world:
        client = world.client()
        client.send(b"nonsense\r\n\r\n")
        assert client.received().startswith(b"HTTP/1.1 400 ")
        world.advance(LINGER_S - TICKS_S)
        assert clients(world) == ["lingering"]
        world.advance(2 * TICKS_S)
        assert clients(world) == []


def test_a_refused_client_that_goes_on_sending_is_cut_when_that_is_too_much() -> None:
    with plain() as world:
        client = world.client()
        client.send(b"nonsense\r\n\r\n")
        client.send(b"x" * (LINGER_BYTES - 100))
        assert clients(world) == ["lingering"]
        client.send(b"x" * 200)
        assert clients(world) == []


BODY = 300


def client_that_has_not_read(world: World, answers: int) -> Peer:
    """So many, of which the last one closes the connection."""
    client, fields = world.client(), b"Host: a\r\n"
    for number in range(answers):
        if number == answers - 1:
            fields += b"Connection: close\r\n"
        client.send(b"GET / HTTP/1.1\r\n%b\r\n" % fields)
        if world.connecting:
            origin = world.connecting[0].accept()
        origin.send(ok(BODY))
    return client


def closing() -> tuple[World, Peer, int]:
    """A client with as many answers as it takes until the kernel has no room for all of the last one."""
    for answers in range(1, 100):
        world = plain()
        client = client_that_has_not_read(world, answers)
        if clients(world) == ["closed"]:
            return world, client, answers
        world.close()
    raise AssertionError("the kernel takes everything")


def test_a_client_that_does_not_read_its_last_answer_is_not_waited_for_for_ever() -> None:
    world, _, _ = closing()
    with world:
        world.advance(CLOSING_S - TICKS_S)
        assert clients(world) == ["closed"]
        world.advance(IDLE_S + 2 * TICKS_S)
        assert clients(world) == []


def test_a_client_that_reads_its_last_answer_slowly_gets_all_of_it() -> None:
    world, client, answers = closing()
    with world:
        while clients(world):
            client.read_some(2 * BODY)  # at least one of the pieces that the kernel counts
            world.advance(IDLE_S - 3 * TICKS_S)
        assert client.received().count(b"x") == answers * BODY


def test_as_many_interim_responses_as_allowed_go_on_and_one_more_is_a_fault() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    for many, status in ((MOST_INTERIMS, b"200"), (MOST_INTERIMS + 1, b"502")):
        with plain() as world:
            client = world.client()
            client.send(GET)
            world.connecting[0].accept().send(interim * many + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            assert client.received().count(interim[:12]) == MOST_INTERIMS
            assert client.data.split(b"HTTP/1.1 ")[-1].startswith(status)


def test_a_back_off_that_would_last_longer_than_the_route_s_timeout_is_not_begun() -> None:
    random.seed(3)  # the back-off is drawn by chance; this one is far beyond the timeout
    with plain("1s", ", retry: {on: [connect-failure], attempts: 5, backoff: {base: 50s, max: 60s}}") as world:
        client = world.client()
        client.send(GET)
        world.connecting[0].fail()
        assert client.received().startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("seconds", [0.3, 0.6])
def test_a_retry_has_only_what_is_left_of_the_route_s_timeout(seconds: float) -> None:
    with plain("1s", ", retry: {on: [connect-failure], attempts: 5, backoff: {base: 1ms, max: 1ms}}") as world:
        client = world.client()
        client.send(GET)
        world.advance(seconds)
        world.connecting[0].fail()
        world.advance(1 - seconds - TICKS_S)
        assert client.received() == b""
        world.advance(2 * TICKS_S)
        assert client.received().startswith(b"HTTP/1.1 504 ")


def test_a_client_that_closes_its_side_gets_its_answer_and_then_the_end() -> None:
    with plain() as world:
        client = world.client()
        client.send(GET)
        client.half_close()
        world.connecting[0].accept().send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert client.received().endswith(b"ok")
        assert client.is_ended
