"""What has no memory ends visibly, and gives back what it held, wherever in the journey of a request that happens."""

from __future__ import annotations

import pytest

from tests.inprocess.world import World

RETRIED = """
listeners:
  - bind: 127.0.0.1:8080
    routes:
      - {match: {path: /hedged}, cluster: app, timeout: 2s, hedge: 20ms}
      - match: {prefix: /}
        cluster: app
        timeout: 2s
        retry: {on: [connect-failure, reset, 5xx], attempts: 2}
clusters:
  - {name: app, endpoints: [127.0.0.1:9001, 127.0.0.1:9002]}
"""
MIRRORED = """
listeners:
  - bind: 127.0.0.1:8080
    routes: [{match: {prefix: /}, cluster: app, mirror: {cluster: copy, of: 100%}}]
clusters:
  - {name: app, endpoints: [127.0.0.1:9001]}
  - name: copy
    queue: {max: 5, timeout: 200ms}
    endpoints: [{address: "127.0.0.1:9002", max_requests: 1}]
"""
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def ended_without_memory(world: World) -> bool:
    """Whether all that was raised was that, which is told once each."""
    raised, world.raised = world.raised, []
    return bool(raised) and all(isinstance(each, MemoryError) for each in raised)


@pytest.mark.parametrize("response", [b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", b"nonsense\r\n\r\n"])
def test_a_retry_for_whose_timer_there_is_no_memory_is_answered_at_once(response: bytes) -> None:
    with World(RETRIED) as world:
        client = world.client()
        client.send(POST)
        origin = world.connecting[0].accept()
        world.loop.has_memory_for_timers = False
        origin.send(response)
        assert b"no_resources" in client.received()
        assert ended_without_memory(world)


def test_so_it_is_after_a_connection_that_failed() -> None:
    with World(RETRIED) as world:
        client = world.client()
        client.send(POST)
        world.loop.has_memory_for_timers = False
        world.connecting[0].fail()
        assert b"no_resources" in client.received()
        assert ended_without_memory(world)


def test_a_hedge_for_whose_timer_there_is_no_memory_ends_the_request() -> None:
    with World(RETRIED) as world:
        client = world.client()
        world.loop.has_memory_for_timers = False
        client.send(b"GET /hedged HTTP/1.1\r\nHost: a\r\n\r\n")
        world.connecting[0].accept()
        assert b"no_resources" in client.received()
        assert ended_without_memory(world)


def test_copies_that_wait_for_a_mirror_in_vain_are_forgotten() -> None:
    with World(MIRRORED) as world:
        client = world.client()
        client.send(POST + POST + POST)
        for _ in range(3):
            while world.connecting and world.connecting[0].address.endswith("9002"):
                world.connecting[0].accept()
            if world.connecting:
                origin = world.connecting[0].accept()
            origin.send(OK)
        world.advance(0.5)
        assert client.received().count(b"200 OK") == 3
        assert world.counter('cluster_queue_timeouts{cluster="copy"}') == 2
