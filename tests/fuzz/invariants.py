"""What has to hold for every input: one reading however it arrives, the same by others, and a clean onward head.

A violation is an AssertionError whose text is a sentence.
"""

from __future__ import annotations

from shardproxy.http1.framing import request_framing, response_framing
from shardproxy.http1.head import Head
from shardproxy.http1.splice import forwarded_request, forwarded_response
from tests.fuzz.exceptions import EXCEPTIONS, Parser
from tests.fuzz.reading import Message, Reading, read_bytewise, read_whole
from tests.fuzz.second_opinions import Fields, Opinion, ask_h11, ask_llhttp

# RFC 9110 §7.6.1; what we write ourselves is checked apart.
HOP_BY_HOP = frozenset((b"keep-alive", b"proxy-connection", b"trailer", b"upgrade", b"http2-settings"))
OURS = frozenset((b"host", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id"))
# Connection may not take these away: framing, routing and tracing stand on them.
PROTECTED = OURS | {b"content-length", b"expect"}


def check(message: Message, reused: Head | None = None) -> Reading:
    """All invariants of one input; the reading. `reused` is a head that has read other messages before."""
    reading = read_whole(message)
    bytewise = read_bytewise(message, reused)
    assert bytewise == reading, f"read whole it is {reading}, byte by byte {bytewise}"
    if reading.has_head:
        check_second_opinions(message, reading)
        check_onward(message)
    return reading


def check_second_opinions(message: Message, reading: Reading) -> None:
    """Whatever we accept they read alike, but for the documented exceptions."""
    until_close = reading.kind in ("until_close", "tunnel")
    seen = message if until_close else message._replace(data=message.data[: reading.used or reading.head_size])
    if message.what == "request" or message.method == b"GET":
        compare("llhttp", message, reading, ask_llhttp(seen))
    compare("h11", message, reading, ask_h11(message if reading.verdict == "ok" else seen))


def compare(parser: Parser, message: Message, reading: Reading, opinion: Opinion) -> None:
    """One parser's opinion against our reading."""
    excuses = [known for known in EXCEPTIONS if known.parser == parser and known.applies(message, reading)]
    if opinion.refusal:
        assert excuses, f"{parser} refuses it: {opinion.refusal}"
        return
    assert opinion.has_head, f"{parser} does not see the end of the head"
    ours = (reading.method, reading.target) if message.what == "request" else reading.status
    theirs = (opinion.method, opinion.target) if message.what == "request" else opinion.status
    assert theirs == ours, f"{parser} reads the start line as {theirs}, not {ours}"
    fields = comparable([(name, value) for name, value, _ in reading.fields])
    assert comparable(opinion.fields) == fields, f"{parser} reads the fields {opinion.fields}, not {fields}"
    if reading.kind != "tunnel" and not any(known.is_body_other for known in excuses):
        compare_bodies(parser, reading, opinion)


def comparable(fields: Fields) -> Fields:
    """Fields as they are, but for the case of a transfer coding, which does not matter and which h11 changes."""
    return [(name, value.lower() if name.lower() == b"transfer-encoding" else value) for name, value in fields]


def compare_bodies(parser: Parser, reading: Reading, opinion: Opinion) -> None:
    assert opinion.payload == reading.payload, f"{parser} reads the body {opinion.payload!r}, not {reading.payload!r}"
    if reading.kind == "until_close":
        return
    is_complete = reading.verdict == "ok"
    assert opinion.is_complete == is_complete, f"{parser} says complete={opinion.is_complete}, we {is_complete}"
    if opinion.used >= 0:
        assert opinion.used == reading.used, f"{parser} ends the message at {opinion.used}, we at {reading.used}"


def check_onward(message: Message) -> None:
    """The spliced head reads again with h11 and with us, frames the body as before, and nothing hop-by-hop is in it."""
    head = Head()
    head.read(message.data, message.what)
    if message.what == "response" and head.facts["status"] != 101:
        check_onward_response(head, message)
    elif message.what == "request" and head.facts["method"] != b"CONNECT":
        check_onward_request(head)


def check_onward_request(head: Head) -> None:
    framing = request_framing(head)
    onward = Message("request", forwarded_request(head, chunked=framing[1] == "chunked"))
    again = read_again(onward)
    assert request_framing(again) == framing, f"onward the framing is {request_framing(again)}, not {framing}"
    target = again.facts["target"]
    assert again.facts["method"] == head.facts["method"], "onward the method is another"
    assert target.startswith(b"/") or target == b"*", f"onward the target is {target!r}"
    compare_onward_fields(head, again, framing[1], cut=OURS, ours=OURS)
    assert [name.lower() for name, _, _ in again.items].count(b"host") == 1, "onward there is not exactly one Host"


def check_onward_response(head: Head, message: Message) -> None:
    framing = response_framing(head, message.method)
    onward = Message("response", forwarded_response(head, date=b"", chunked=framing[1] == "chunked"), message.method)
    again = read_again(onward)
    assert response_framing(again, message.method) == framing, "onward the framing is another"
    assert again.facts["status"] == head.facts["status"], "onward the status is another"
    assert onward.data[12:13] == b" ", "onward there is no space behind the status code (RFC 9112 §4)"
    without_length = head.facts["status"] < 200 or head.facts["status"] == 204
    cut = frozenset((b"content-length",)) if without_length else frozenset()
    compare_onward_fields(head, again, framing[1], cut=cut)


def read_again(onward: Message) -> Head:
    """Our reading of the onward head, which h11 takes as well."""
    again = Head()
    verdict = again.read(onward.data, onward.what, max_bytes=1 << 20, max_fields=1000)
    assert verdict == "ok", f"our own onward head is {verdict}: {onward.data!r}"
    assert again.facts["size"] == len(onward.data), "the onward head ends early"
    opinion = ask_h11(onward)
    assert not opinion.refusal or _is_excused(onward, again), f"h11 refuses the onward head: {opinion.refusal}"
    return again


def _is_excused(onward: Message, again: Head) -> bool:
    reading = read_whole(onward)
    return any(known.parser == "h11" and known.applies(onward, reading) for known in EXCEPTIONS)


def compare_onward_fields(
    head: Head, again: Head, kind: str, *, cut: frozenset[bytes], ours: frozenset[bytes] = frozenset()
) -> None:
    """Every end-to-end field went on in order but for those to `cut`, and no other was added but `ours`."""
    gone = HOP_BY_HOP | cut | {b"connection", b"te", b"transfer-encoding"} | (nominated(head) - PROTECTED)
    before = [(name, value) for name, value, _ in head.items if name.lower() not in gone]
    after = [(name, value) for name, value, _ in again.items]
    kept = [(name, value) for name, value in after if name.lower() not in gone]
    assert kept == before, f"onward the end-to-end fields are {kept}, not {before}"
    for name, value in after:
        is_allowed = name.lower() not in gone or is_ours(name.lower(), value, kind, ours)
        assert is_allowed, f"onward stands {name!r}: {value!r}"


def nominated(head: Head) -> frozenset[bytes]:
    """What Connection names, in lower case."""
    values = [value for name, value, _ in head.items if name.lower() == b"connection"]
    return frozenset(option.strip(b" \t").lower() for value in values for option in value.split(b","))


def is_ours(name: bytes, value: bytes, kind: str, ours: frozenset[bytes]) -> bool:
    """Did we write this field ourselves, for the next hop?"""
    if name == b"transfer-encoding":
        return kind == "chunked" and value == b"chunked"
    if name in (b"connection", b"te"):
        return bool(ours) and value == {b"connection": b"TE", b"te": b"trailers"}[name]
    return name in ours
