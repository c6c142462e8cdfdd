"""Reading one message with our codec in three ways: whole, byte by byte, and with trailing data.

The wire cases, the property tests and the fuzzer read through here, so that "the same result however it arrives" means
the same thing everywhere.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from shardproxy.http1.framing import Body, request_framing, response_framing
from shardproxy.http1.head import Head

What = Literal["request", "response"]


class Message(NamedTuple):
    """Bytes as they arrive; `method` is that of the request which a response answers."""

    what: What
    data: bytes
    method: bytes = b"GET"


class Reading(NamedTuple):
    """What the codec made of a message.

    `verdict` is "ok", "need_more" or a fault; `kind` is empty until the framing is known; `fields` are (name, value,
    ends here). After a fault in the body the `payload` is empty and `used` ends with the head: how far the reader got
    is its own affair.
    """

    verdict: str
    kind: str = ""
    payload: bytes = b""
    used: int = 0
    head_size: int = 0
    method: bytes = b""
    target: bytes = b""
    status: int = 0
    minor: int = 0
    fields: tuple[tuple[bytes, bytes, bool], ...] = ()

    @property
    def has_head(self) -> bool:
        return bool(self.kind)

    def values(self, name: bytes) -> list[bytes]:
        """The values of the fields with this lower-case name."""
        return [value for field, value, _ in self.fields if field.lower() == name]

    def says(self, name: bytes, option: bytes) -> bool:
        """Does one of the comma-separated elements of the field equal `option`?"""
        elements = b",".join(self.values(name)).lower().split(b",")
        return option in (element.strip(b" \t") for element in elements)


def read_whole(message: Message) -> Reading:
    """Everything at once."""
    head = Head()
    verdict = head.read(message.data, message.what)
    if verdict != "ok":
        return Reading(verdict)
    return _read_rest(head, message, step=len(message.data) + 1)


def read_bytewise(message: Message, head: Head | None = None) -> Reading:
    """One byte more each time; `head` may be one that has been used before.

    A head is scanned from its start each time, so above 4 KiB it is fed in pieces of a few bytes.
    """
    head = head or Head()
    verdict = "need_more"
    size = len(message.data)
    for end in (*range(1, size, 1 + size // 4096), size):
        verdict = head.read(message.data[:end], message.what)
        if verdict != "need_more":
            break
    return Reading(verdict) if verdict != "ok" else _read_rest(head, message, step=1)


def read_every_way(message: Message, trailing: bytes = b"GET /next HTTP/1.1\r\nHost: next.test\r\n\r\n") -> Reading:
    """The reading, after it has been shown to be the same in all three ways."""
    reading = read_whole(message)
    assert read_bytewise(message) == reading
    if reading.verdict != "need_more" and reading.kind not in ("until_close", "tunnel"):
        assert read_whole(message._replace(data=message.data + trailing)) == reading
    return reading


def _read_rest(head: Head, message: Message, step: int) -> Reading:
    is_request = message.what == "request"
    verdict, kind, length = request_framing(head) if is_request else response_framing(head, message.method)
    if verdict != "ok":
        return Reading(verdict)
    facts = head.facts
    body = Body(kind, length)
    verdict, payload, used = _feed(body, message.data[facts["size"] :], step)
    if verdict == "ok" and not body.is_done and kind not in ("until_close", "tunnel"):
        verdict = "need_more"
    return Reading(
        verdict, kind, payload, facts["size"] + used, facts["size"], facts["method"], facts["target"], facts["status"],
        facts["minor"], tuple(head.items),
    )  # fmt: skip


def _feed(body: Body, data: bytes, step: int) -> tuple[str, bytes, int]:
    """(fault, payload, bytes used) of a body that comes in pieces of `step` bytes."""
    payload = []
    at = 0
    while at < len(data) and not body.is_done:
        fault, piece, used = body.feed(data[at : at + step])
        if fault != "ok":
            return fault, b"", 0
        payload.append(piece)
        at += used
    return "ok", b"".join(payload), at
