"""What llhttp (through httptools, strict) and h11 make of the same bytes."""

from __future__ import annotations

from typing import NamedTuple

import h11
import httptools

from tests.fuzz.reading import Message

Fields = list[tuple[bytes, bytes]]


class Opinion(NamedTuple):
    """Another parser's reading. `refusal` is empty if it took the bytes; `used` is -1 where it does not tell."""

    refusal: str
    has_head: bool
    method: bytes
    target: bytes
    status: int
    fields: Fields
    trailers: Fields
    payload: bytes
    is_complete: bool
    used: int = -1


class _Ears:
    """The callbacks of httptools, of the first message only."""

    def __init__(self) -> None:
        self.target = b""
        self.fields: Fields = []
        self.trailers: Fields = []
        self.payload = b""
        self.has_head = False
        self.begun = self.completed = 0

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_url(self, piece: bytes) -> None:
        self.target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        (self.trailers if self.has_head else self.fields).append((name, (value or b"").strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.has_head = True

    def on_body(self, piece: bytes) -> None:
        self.payload += piece

    def on_message_complete(self) -> None:
        self.completed += 1


def ask_llhttp(message: Message) -> Opinion:
    """llhttp's reading. It never learns the request's method: do not ask it about responses to HEAD or CONNECT."""
    ears = _Ears()
    refusal = ""
    parser: httptools.HttpRequestParser | httptools.HttpResponseParser
    parser = httptools.HttpRequestParser(ears) if message.what == "request" else httptools.HttpResponseParser(ears)
    try:
        parser.feed_data(message.data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        refusal = str(error) or type(error).__name__
    if ears.begun > 1:
        refusal = refusal or "saw a second message"
    method, status = b"", 0
    if isinstance(parser, httptools.HttpRequestParser):
        method = parser.get_method() if ears.has_head else b""
    else:
        status = parser.get_status_code()
    return Opinion(
        refusal, ears.has_head, method, ears.target, status, ears.fields, ears.trailers, ears.payload,
        ears.completed == 1,
    )  # fmt: skip


def _connection(message: Message) -> h11.Connection:
    """h11 at the point where the message may come."""
    if message.what == "request":
        return h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    fields = [("Host", "a.test"), ("Connection", "upgrade"), ("Upgrade", "websocket")]
    connection.send(h11.Request(method=message.method, target="/", headers=fields))
    connection.send(h11.EndOfMessage())
    return connection


def ask_h11(message: Message) -> Opinion:
    """h11's reading; `used` is exact when the message is complete."""
    connection = _connection(message)
    start: h11.Request | h11.Response | h11.InformationalResponse | None = None
    payload, trailers, refusal = b"", [], ""
    is_complete = False
    try:
        connection.receive_data(message.data)
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Data):
                payload += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                is_complete = True
                trailers = _fields(event)
                break
            elif isinstance(event, h11.Request | h11.Response | h11.InformationalResponse):
                start = event
                if isinstance(event, h11.InformationalResponse):
                    is_complete = True
                    break
            else:
                break
    except h11.RemoteProtocolError as error:
        refusal = str(error)
    used = len(message.data) - len(connection.trailing_data[0]) if is_complete else -1
    return Opinion(
        refusal, start is not None, start.method if isinstance(start, h11.Request) else b"",
        start.target if isinstance(start, h11.Request) else b"",
        start.status_code if isinstance(start, h11.Response | h11.InformationalResponse) else 0,
        _fields(start) if start else [], trailers, payload, is_complete, used,
    )  # fmt: skip


def _fields(event: h11.Request | h11.Response | h11.InformationalResponse | h11.EndOfMessage) -> Fields:
    return [(bytes(name), bytes(value)) for name, value in event.headers.raw_items()]
