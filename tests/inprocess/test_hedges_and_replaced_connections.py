"""A connection that has been given up is not heard, whoever waits for what at that moment."""

from __future__ import annotations

import pytest

from tests.inprocess.world import Peer, World

HEDGED = """
listeners:
  - bind: 127.0.0.1:8080
    routes: [{{match: {{prefix: /}}, cluster: pair, hedge: 20ms, timeout: 2s{route}}}]
clusters:
  - name: pair
    balance: first
    connect_timeout: 5s
    endpoints: [{{address: "127.0.0.1:9001", max_requests: 10}}, "127.0.0.1:9002"]
    {cluster}
"""
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def world_with_a_kept_connection(route: str = "", cluster: str = "") -> tuple[World, Peer, Peer]:
    """With a client, and the first endpoint's connection, over which one request has gone already."""
    world = World(HEDGED.format(route=route, cluster=cluster))
    client = world.client()
    client.send(GET)
    kept = world.connecting[0].accept()
    kept.send(ok(b"warm"))
    assert client.received().endswith(b"warm")
    client.data = kept.data = b""
    return world, client, kept


def hedge(world: World, client: Peer) -> Peer:
    """A second request, which the first endpoint does not answer, so that the second one is asked, too."""
    client.send(GET)
    world.advance(0.05)
    return world.connecting[-1].accept()


def test_a_hedge_wins_while_the_stale_connection_of_the_first_try_is_replaced() -> None:
    world, client, kept = world_with_a_kept_connection()
    with world:
        second = hedge(world, client)
        kept.close()
        [replacement] = world.connecting
        second.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        late = replacement.accept()
        assert late.received() == b""
        late.send(ok(b"late"))
        second.send(b"rest")
        assert client.received().endswith(b"\r\n\r\nhalfrest")
        assert client.data.count(b"HTTP/1.1 ") == 1


def test_the_replacement_of_a_first_try_that_has_lost_serves_the_next_request() -> None:
    world, client, kept = world_with_a_kept_connection()
    with world:
        second = hedge(world, client)
        kept.close()
        second.send(ok(b"one"))
        late = world.connecting[0].accept()
        client.send(GET)
        assert late.received() == b"GET" + late.data[3:] != b""
        late.send(ok(b"two"))
        assert client.received().endswith(b"two")


@pytest.mark.parametrize("fault", ["connect_failed", "connect_timeout", "no_resources"])
def test_a_replacement_that_fails_leaves_the_answer_to_the_hedge(fault: str) -> None:
    world, client, kept = world_with_a_kept_connection()
    with world:
        second = hedge(world, client)
        kept.close()
        world.connecting[0].fail(fault)
        second.send(ok(b"second"))
        assert client.received().endswith(b"second")


def test_a_hedge_that_is_still_connecting_is_waited_for_when_the_first_try_fails() -> None:
    world, client, kept = world_with_a_kept_connection()
    with world:
        client.send(GET)
        world.advance(0.05)
        kept.send(b"nonsense\r\n\r\n")
        assert client.received() == b""
        world.connecting[0].accept().send(ok(b"second"))
        assert client.received().endswith(b"second")


def test_a_hedge_takes_over_from_a_first_try_that_finds_no_connection_any_more() -> None:
    world, client, kept = world_with_a_kept_connection(cluster="max_connections: 2\n    queue: {max: 5, timeout: 1s}")
    with world:
        second = hedge(world, client)
        other = world.client()
        kept.half_close()
        other.send(GET)
        second.send(ok(b"second"))
        assert client.received().endswith(b"second")


def test_a_retry_after_both_tries_failed_asks_neither_of_them_again() -> None:
    route = ", retry: {on: [reset], attempts: 1}"
    world, client, kept = world_with_a_kept_connection(route)
    with world:
        second = hedge(world, client)
        kept.send(b"nonsense\r\n\r\n")
        second.send(b"nonsense\r\n\r\n")
        world.advance(0.3)
        world.connecting[0].accept().send(ok(b"third"))
        assert client.received().endswith(b"third")
