"""The harness itself: a request goes through a worker whose loop, clock and origins are the test's."""

from __future__ import annotations

from tests.inprocess.world import World

PLAIN = """
listeners:
  - bind: 127.0.0.1:8080
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - {name: app, endpoints: [127.0.0.1:9001]}
"""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_a_request_goes_to_the_endpoint_and_its_answer_comes_back() -> None:
    with World(PLAIN) as world:
        client = world.client()
        client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        origin = world.connecting[0].accept()
        assert origin.received().startswith(b"GET /x HTTP/1.1\r\n")
        origin.send(OK)
        assert client.received().endswith(b"\r\n\r\nok")


def test_a_timeout_comes_when_the_clock_is_moved() -> None:
    with World(PLAIN) as world:
        client = world.client()
        client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.received() == b""
        world.advance(6)
        assert client.received().startswith(b"HTTP/1.1 504 ")
