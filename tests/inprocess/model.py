"""What clients, endpoints, the network and time may do to a worker, step by step, and what is true whatever they do.

Each request gets exactly one response or a visible abort, and its bytes are of one origin only.  What else has to be
true once all have gone is asserted by `World.close`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import h11

from tests.inprocess.world import Connecting, Peer, World

CONFIGURATION = """
listeners:
  - bind: 127.0.0.1:8080
    timeouts: {request_head: 2s, request_body: 2s, idle: 5s, stream_idle: 3s}
    routes:
      - {match: {prefix: /plain}, cluster: app, timeout: 1s}
      - {match: {prefix: /retry}, cluster: app, timeout: 1s, retry: {on: [connect-failure, reset, 5xx], attempts: 2}}
      - {match: {prefix: /hedge}, cluster: app, timeout: 1s, hedge: 20ms}
      - match: {prefix: /both}
        cluster: app
        timeout: 1s
        hedge: 20ms
        retry: {on: [connect-failure, reset, 5xx], attempts: 2, per_try_timeout: 300ms}
      - {match: {prefix: /queue}, cluster: full, timeout: 1s}
      - match: {prefix: /all}
        cluster: full
        timeout: 1s
        hedge: 20ms
        retry: {on: [connect-failure, reset, 5xx], attempts: 2}
      - {match: {prefix: /delay}, cluster: app, timeout: 1s, rate_limits: [late], retry: {on: [reset], attempts: 1}}
      - {match: {prefix: /slow}, cluster: app, timeout: 1s, bandwidth_limits: [slow]}
      - {match: {prefix: /mirror}, cluster: app, timeout: 1s, mirror: {cluster: full, of: 100%}}
clusters:
  - name: app
    balance: round_robin
    connect_timeout: 500ms
    keepalive: {max_idle: 4, idle_timeout: 2s}
    retry_budget: {percent: 100, min_concurrency: 3}
    endpoints: ["127.0.0.1:9001", "127.0.0.1:9002", {address: "127.0.0.1:9003", max_requests: 1}]
  - name: full
    connect_timeout: 500ms
    max_connections: 2
    keepalive: {max_idle: 4, idle_timeout: 2s}
    retry_budget: {percent: 100, min_concurrency: 3}
    queue: {max: 3, timeout: 400ms}
    endpoints: [{address: "127.0.0.1:9004", max_requests: 2}, {address: "127.0.0.1:9005", max_requests: 1}]
rate_limits:
  - {name: late, rate: 20/s, burst: 1, delay: 200ms}
bandwidth_limits:
  - {name: slow, down: 64KiB/s, up: 64KiB/s}
"""
ROUTES = ("plain", "retry", "hedge", "both", "queue", "queue", "all", "all", "all", "delay", "slow", "mirror")
MOST_CLIENTS = 6
TIMES_S = (0.005, 0.005, 0.03, 0.03, 0.03, 0.1, 0.45, 1.1)
SIZES = (0, 8, 800, 40_000)
REQUEST_ID = re.compile(rb"^[A-Z]+ /\w+/(\d+) ", re.MULTILINE)


@dataclass
class Client:
    """A client, and what it has asked for."""

    peer: Peer
    asked: list[tuple[int, bytes]] = field(default_factory=list)  # id and method, in order
    owed: bytes = b""  # the rest of the request that it has begun
    is_reading: bool = True


@dataclass
class Origin:
    """A connection to an endpoint, and what came over it."""

    peer: Peer
    address: str
    token: bytes  # what the bodies of its responses are made of
    answered: int = 0  # requests whose response has begun
    owed: bytes = b""  # the rest of the response that it has begun


class Model:
    """Steps are chosen by `choose`, so that a test decides how: by hypothesis, or by chance alone."""

    def __init__(self) -> None:
        self.world = World(CONFIGURATION)
        self.clients: list[Client] = []
        self.origins: list[Origin] = []
        self.tokens: dict[bytes, Origin] = {}
        self.number = 0
        self.steps: tuple[Callable[[Random], None], ...] = (
            self.connect, self.ask, self.ask, self.ask, self.send_more, self.leave, self.cut, self.stop_reading,
            self.read, self.accept, self.accept, self.accept, self.accept, self.refuse, self.answer, self.answer,
            self.answer, self.answer, self.answer_more, self.answer_more, self.say_interim, self.answer_early,
            self.say_nonsense, self.hang_up, self.wait, self.wait,
        )  # fmt: skip

    def step(self, random: Random) -> str:
        """One of them, and what is true after it; its name."""
        chosen = random.choice(self.steps)
        chosen(random)
        self.check()
        return chosen.__name__

    # Clients -------------------------------------------------------------------------------------------------------

    def connect(self, random: Random) -> None:
        if len(self.clients) < MOST_CLIENTS:
            self.clients.append(Client(self.world.client()))

    def ask(self, random: Random) -> None:
        """A request, whole or only its beginning; possibly before the answer to the last."""
        client = self._client(random)
        if client is None or client.owed or len(client.asked) > 20:
            return
        self.number += 1
        method = random.choice((b"GET", b"GET", b"GET", b"PUT", b"POST"))
        head = b"%b /%b/%d HTTP/1.1\r\nHost: a\r\n" % (method, random.choice(ROUTES).encode(), self.number)
        client.asked.append((self.number, method))
        if method == b"GET":
            client.peer.send(head + b"\r\n")
            return
        whole = head + self._body(random, b"client--")
        sent = random.choice((len(whole), len(head) + 20, random.randrange(len(whole))))
        client.owed = whole[sent:]
        client.peer.send(whole[:sent])

    def send_more(self, random: Random) -> None:
        client = self._client(random, lambda each: bool(each.owed))
        if client is not None:
            size = random.choice((1, 100, len(client.owed)))
            piece, client.owed = client.owed[:size], client.owed[size:]
            client.peer.send(piece)

    def leave(self, random: Random) -> None:
        client = self._client(random)
        if client is not None and random.random() < 0.3:
            random.choice((client.peer.close, client.peer.half_close))()
            client.owed = b""
            if client.peer.is_closed:
                self.clients.remove(client)

    def cut(self, random: Random) -> None:
        """As a drain does when its time is up."""
        served = sorted(self.world.process.clients, key=repr)
        if served and random.random() < 0.1:
            random.choice(served).cut()
            self.world.settle()

    def stop_reading(self, random: Random) -> None:
        client = self._client(random)
        if client is not None:
            client.is_reading = False

    def read(self, random: Random) -> None:
        client = self._client(random, lambda each: not each.is_reading)
        if client is not None:
            client.is_reading = True

    # Endpoints -----------------------------------------------------------------------------------------------------

    def accept(self, random: Random) -> None:
        if self.world.connecting:
            attempt = random.choice(self.world.connecting)
            self._accept(attempt)

    def _accept(self, attempt: Connecting) -> None:
        token = b"%07d-" % len(self.tokens)
        origin = Origin(attempt.accept(), attempt.address, token)
        self.tokens[token] = origin
        self.origins.append(origin)

    def refuse(self, random: Random) -> None:
        if self.world.connecting:
            fault = random.choice(("connect_failed", "connect_failed", "no_resources"))
            random.choice(self.world.connecting).fail(fault)

    def answer(self, random: Random) -> None:
        """A response to a request that is complete, whole or only its beginning."""
        origin = self._origin(random, self._has_request)
        if origin is not None:
            self._answer(origin, random)

    def answer_early(self, random: Random) -> None:
        """Before the request is complete."""
        origin = self._origin(random, lambda each: len(self._requests(each)) > each.answered and not each.owed)
        if origin is not None and random.random() < 0.2:
            self._answer(origin, random)

    def _answer(self, origin: Origin, random: Random) -> None:
        status = random.choice((b"200 OK", b"200 OK", b"200 OK", b"503 Service Unavailable"))
        whole = b"HTTP/1.1 %b\r\nX-From: %b\r\n%b" % (status, origin.token, self._body(random, origin.token))
        sent = random.choice((len(whole), len(whole), random.randrange(len(whole))))
        origin.answered += 1
        origin.owed = whole[sent:]
        origin.peer.send(whole[:sent])

    def answer_more(self, random: Random) -> None:
        origin = self._origin(random, lambda each: bool(each.owed))
        if origin is not None:
            size = random.choice((1, 100, len(origin.owed)))
            piece, origin.owed = origin.owed[:size], origin.owed[size:]
            origin.peer.send(piece)

    def say_interim(self, random: Random) -> None:
        origin = self._origin(random, self._has_request)
        if origin is not None:
            origin.peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")

    def say_nonsense(self, random: Random) -> None:
        origin = self._origin(random, lambda each: not each.owed)
        if origin is not None and random.random() < 0.3:
            origin.peer.send(b"nonsense\r\n\r\n")

    def hang_up(self, random: Random) -> None:
        """A kept connection, or one in the middle of a request or of a response."""
        origin = self._origin(random, lambda each: True)
        if origin is not None:
            random.choice((origin.peer.close, origin.peer.half_close))()
            origin.owed = b""

    def wait(self, random: Random) -> None:
        self.world.advance(random.choice(TIMES_S))

    # What is true --------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Each client has got, in order, at most one response to each request, each of one origin that was asked."""
        for client in self.clients:
            if client.is_reading:
                client.peer.read()
                self._check(client)
        for origin in self.origins:
            origin.peer.read()
        self.clients = [client for client in self.clients if not (client.peer.is_ended and client.is_reading)]
        self.origins = [origin for origin in self.origins if not origin.peer.is_closed and not origin.peer.is_ended]

    def _check(self, client: Client) -> None:
        rest, is_ended = client.peer.data, client.peer.is_ended
        for number, method in client.asked:
            if not rest:
                return
            rest = self._check_one(rest, number, method, is_ended)
        assert rest == b"", f"bytes that nobody asked for: {rest[:200]!r}"

    def _check_one(self, data: bytes, number: int, method: bytes, is_ended: bool) -> bytes:
        """What follows the response at the beginning of `data`; nothing if that is not complete."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        parser.send(h11.EndOfMessage())
        parser.receive_data(data)
        head, body = None, b""
        while True:
            event = parser.next_event()
            if isinstance(event, h11.Response):
                assert head is None
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                self._check_origin(head, body, number)
                return parser.trailing_data[0]
            elif event is h11.NEED_DATA:
                if head is not None:
                    self._check_origin(head, body, number)
                return b""
            else:
                assert isinstance(event, h11.InformationalResponse), event

    def _check_origin(self, head: h11.Response | None, body: bytes, number: int) -> None:
        assert head is not None
        fields = dict(head.headers)
        token = fields.get(b"x-from")
        if token is None:
            assert b"x-shardproxy-reason" in fields
            return
        assert body == (token * (len(body) // len(token) + 1))[: len(body)], "bytes of another origin, or a hole"
        asked = [int(each) for each in REQUEST_ID.findall(self.tokens[token].peer.data)]
        assert number in asked, f"request {number} was answered by an origin that had {asked}"

    # Choices -------------------------------------------------------------------------------------------------------

    def _client(self, random: Random, fits: Callable[[Client], bool] = lambda each: True) -> Client | None:
        fitting = [each for each in self.clients if fits(each)]
        return random.choice(fitting) if fitting else None

    def _origin(self, random: Random, fits: Callable[[Origin], bool]) -> Origin | None:
        for each in self.origins:
            each.peer.received()
        fitting = [each for each in self.origins if fits(each)]
        return random.choice(fitting) if fitting else None

    def _requests(self, origin: Origin) -> list[bytes]:
        return [bytes(each) for each in REQUEST_ID.findall(origin.peer.data)]

    def _has_request(self, origin: Origin) -> bool:
        """All that were asked are complete, as far as heads and last chunks tell, and one has no response yet."""
        is_complete = origin.peer.data.endswith((b"\r\n\r\n", b"-"))
        return is_complete and len(self._requests(origin)) > origin.answered and not origin.owed

    def _body(self, random: Random, token: bytes) -> bytes:
        """The fields that frame it, the empty line, and a body made of `token`."""
        size = random.choice(SIZES) // len(token)
        body = token * size
        if random.random() < 0.5:
            return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        chunks = [body[at : at + 10_000] for at in range(0, len(body), 10_000)]
        return b"Transfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % b"".join(
            b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks
        )

    def close(self) -> None:
        self.world.close()
