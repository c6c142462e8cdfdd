"""Whatever our codec accepts, llhttp (httptools, strict) and h11 read with the same method, target, fields and body.

The differences are listed in `tests/fuzz/exceptions.py`, one table for this test and the fuzzer; each is shown here to
be still there, so that none outlives its reason.
"""

from __future__ import annotations

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.fuzz import invariants
from tests.fuzz.exceptions import EXCEPTIONS, DocumentedException
from tests.fuzz.invariants import check
from tests.fuzz.reading import Message, read_whole

TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
PATH = TOKEN.replace("#", "") + '/:;=@?()[]{}<>\\"'

methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "QUERY"])
hosts = st.sampled_from(["a.test", "A.test:80", "127.0.0.1:8080", "[::1]:1", "a_b~c.test:", "%41.test"])
paths = st.text(PATH, max_size=20).map(lambda path: "/" + path)
names = st.one_of(
    st.text(TOKEN, min_size=1, max_size=12), st.sampled_from(["Accept", "Via", "Date", "Cookie", "X-A", "Expect"])
)
values = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"], include_characters="\t"), max_size=16)
spaces = st.text(" \t", max_size=2)
payloads = st.binary(max_size=40)
known = {"host", "content-length", "transfer-encoding", "connection", "upgrade"}


@st.composite
def field_lines(draw: st.DrawFn) -> list[str]:
    """Up to six well-formed fields that frame nothing."""
    pairs = draw(st.lists(st.tuples(names, spaces, values, spaces), max_size=6))
    lines = [f"{name}:{before}{value}{behind}" for name, before, value, behind in pairs if name.lower() not in known]
    options = draw(st.lists(st.sampled_from(["close", "keep-alive", "X-A", "te", "", "via"]), max_size=3))
    return lines + [f"Connection: {', '.join(options)}"] * draw(st.integers(0, 1))


@st.composite
def chunked(draw: st.DrawFn, payload: bytes) -> bytes:
    """The payload in chunks of any size, with extensions and trailers."""
    body, at = b"", 0
    while at < len(payload):
        size = draw(st.integers(1, len(payload) - at))
        form = draw(st.sampled_from(["%x", "%X", "%04x", "%x;a", "%x;a=b", '%x;a="b;c";d']))
        body += (form % size).encode() + b"\r\n" + payload[at : at + size] + b"\r\n"
        at += size
    trailers = draw(st.sampled_from(["", "X-T: a\r\n", "X-T:\r\nx-u: b\tc\r\n"]))
    return body + b"0\r\n" + trailers.encode() + b"\r\n"


@st.composite
def framed(draw: st.DrawFn, start: str, fields: list[str], payload: bytes) -> bytes:
    """The message with its payload, by length or in chunks; where the framing field stands is drawn as well."""
    is_chunked = draw(st.booleans())
    body = draw(chunked(payload)) if is_chunked else payload
    line = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {len(payload)}"
    at = draw(st.integers(0, len(fields)))
    lines = [start, *fields[:at], line, *fields[at:], "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


@st.composite
def requests(draw: st.DrawFn) -> tuple[Message, bytes]:
    """A well-formed request and its payload."""
    host = draw(hosts)
    target = draw(st.one_of(paths, paths.map(lambda path: f"http://{host}{path}")))
    fields = draw(st.permutations([*draw(field_lines()), f"Host: {host}"]))
    payload = draw(payloads)
    return Message("request", draw(framed(f"{draw(methods)} {target} HTTP/1.1", fields, payload))), payload


@st.composite
def responses(draw: st.DrawFn) -> tuple[Message, bytes]:
    """A well-formed response and its payload."""
    status = draw(st.sampled_from([200, 201, 206, 400, 404, 500, 599]))
    reason = draw(values.map(str.strip))
    payload = draw(payloads)
    return Message("response", draw(framed(f"HTTP/1.1 {status} {reason}", draw(field_lines()), payload))), payload


@given(st.one_of(requests(), responses()), st.sampled_from([b"", b"GET /next HTTP/1.1\r\n", b"\r\n"]))
@settings(max_examples=400, deadline=None)
def test_a_well_formed_message_is_accepted_and_read_alike_by_all(
    made: tuple[Message, bytes], next_bytes: bytes
) -> None:
    message, payload = made
    reading = check(message._replace(data=message.data + next_bytes))
    assert (reading.verdict, reading.payload, reading.used) == ("ok", payload, len(message.data))


tampering = st.tuples(
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 3),
    st.sampled_from(
        [
            b"",
            b"\r",
            b"\n",
            b"\r\n",
            b"\t",
            b" ",
            b"\0",
            b";",
            b",",
            b":",
            b"\xff",
            b"\x0b",
            b"0",
            b"-",
            b'"',
            b"#",
            b"x",
        ]
    ),
)


@given(st.one_of(requests(), responses()), st.lists(tampering, min_size=1, max_size=3))
@settings(max_examples=1000, deadline=None)
def test_a_message_that_was_tampered_with_is_refused_or_read_alike_by_all(
    made: tuple[Message, bytes], changes: list[tuple[float, int, bytes]]
) -> None:
    message = made[0]
    data = message.data
    for place, cut, piece in changes:
        at = int(place * len(data))
        data = data[:at] + piece + data[at + cut :]
    event(check(message._replace(data=data)).verdict)


framing_lines = st.sampled_from(
    [
        "Content-Length: 5",
        "Content-Length: 0",
        "content-length:5",
        "Content-Length: 05",
        "Content-Length: 5,5",
        "Content-Length: +5",
    ]
    + [
        "Transfer-Encoding: chunked",
        "transfer-encoding:chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
    ]
    + [
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding:",
        "Connection: content-length",
        "Connection: transfer-encoding",
    ]
    + [
        "Content-Length : 5",
        " Content-Length: 5",
        "Transfer-Encoding\t: chunked",
        "Upgrade: x",
        "Connection: upgrade",
        "TE: trailers",
    ]
)
starts = st.sampled_from(
    ["POST / HTTP/1.1", "POST / HTTP/1.0", "GET / HTTP/1.1", "HEAD / HTTP/1.1", "CONNECT a.test:1 HTTP/1.1"]
    + [
        "HTTP/1.1 200 OK",
        "HTTP/1.0 200 OK",
        "HTTP/1.1 204 x",
        "HTTP/1.1 304 x",
        "HTTP/1.1 103 x",
        "HTTP/1.1 101 x",
        "HTTP/1.1 200",
    ]
)


@given(starts, st.lists(framing_lines, max_size=3), st.sampled_from([b"GET", b"HEAD"]))
@settings(max_examples=1000, deadline=None)
def test_any_mixture_of_framing_fields_is_refused_or_read_alike_by_all(
    start: str, lines: list[str], method: bytes
) -> None:
    is_response = start.startswith("HTTP/")
    host = [] if is_response else ["Host: a.test:1" if start.startswith("CONNECT") else "Host: a.test"]
    data = "\r\n".join([start, *host, *lines, "", "5\r\nhello\r\n0\r\n\r\n"]).encode()
    event(check(Message("response", data, method) if is_response else Message("request", data)).verdict)


@pytest.mark.parametrize("known", EXCEPTIONS, ids=lambda known: f"{known.parser}: {known.name}")
def test_a_documented_exception_is_still_one(known: DocumentedException, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = read_whole(known.sample)
    assert reading.has_head and known.applies(known.sample, reading)
    check(known.sample)
    others = tuple(other for other in EXCEPTIONS if other is not known)
    monkeypatch.setattr(invariants, "EXCEPTIONS", others)
    with pytest.raises(AssertionError, match=known.parser):
        check(known.sample)


def test_an_exception_is_listed_once_and_has_a_reason() -> None:
    listed = [(known.parser, known.name) for known in EXCEPTIONS]
    assert len(set(listed)) == len(listed)
    assert all(len(known.reason) > 20 for known in EXCEPTIONS)
