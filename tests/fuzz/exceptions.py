"""Where our codec accepts what llhttp or h11 refuse or frame otherwise: each case with its reason and a sample.

An exception excuses a refusal by that parser, or (`is_body_other`) that it does not read the body as one. It never
excuses another method, target or field. `tests/property/test_codec_against_llhttp.py` shows that each still happens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from tests.fuzz.reading import Message, Reading

Parser = Literal["llhttp", "h11"]


class DocumentedException(NamedTuple):
    parser: Parser
    name: str
    reason: str
    sample: Message
    applies: Callable[[Message, Reading], bool]
    is_body_other: bool = False


# The methods that llhttp takes with HTTP/1.1 (llhttp's METHODS_HTTP without PRI).
LLHTTP_METHODS = frozenset(
    b"DELETE GET HEAD POST PUT CONNECT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND REBIND "
    b"UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK "
    b"UNLINK QUERY".split()
)


def _request(line: bytes, *fields: bytes, body: bytes = b"") -> Message:
    return Message("request", b"\r\n".join((line, b"Host: a.test", *fields, b"", body)))


def _response(line: bytes, *fields: bytes, body: bytes = b"") -> Message:
    return Message("response", b"\r\n".join((line, *fields, b"", body)))


def _chunked(body: bytes) -> Message:
    return _request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", body=body)


def _section(message: Message, reading: Reading) -> Iterator[bytes]:
    """The chunk lines of a chunked body, an unfinished one included; behind the last one the trailer section."""
    if reading.kind != "chunked":
        return
    data = message.data[: reading.used]
    at = reading.head_size
    while (end := data.find(b"\r\n", at)) >= 0:
        line = data[at:end]
        yield line
        size = int(re.split(rb"[; \t]", line)[0] or b"0", 16)
        if size == 0:
            yield data[end:]
            return
        at = end + 2 + size + 2
    if at < len(data):
        yield data[at:]


# RFC 9112 §7.1.1 without the white space that llhttp refuses.
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t\x20-\x7e])*"'
_PLAIN_CHUNK_LINE = re.compile(rb"[0-9A-Fa-f]+(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*")


def _has_loose_extension(message: Message, reading: Reading) -> bool:
    lines = [piece for piece in _section(message, reading) if not piece.startswith(b"\r\n")]
    return any(not _PLAIN_CHUNK_LINE.fullmatch(line) for line in lines)


def _has_space_before_extension(message: Message, reading: Reading) -> bool:
    return any(re.match(rb"[0-9A-Fa-f]+[ \t]", line) for line in _section(message, reading))


def _has_framing_trailer(message: Message, reading: Reading) -> bool:
    trailers = [piece for piece in _section(message, reading) if piece.startswith(b"\r\n")]
    return any(re.search(rb"\r\n(content-length|transfer-encoding):", piece, re.IGNORECASE) for piece in trailers)


def _has_tab_behind_coding(message: Message, reading: Reading) -> bool:
    line = rb"\r\ntransfer-encoding:[^\r]*\t *\r\n"
    return bool(re.search(line, message.data[: reading.head_size], re.IGNORECASE))


def _has_idle_coding(message: Message, reading: Reading) -> bool:
    has_no_body = message.method == b"HEAD" or reading.status == 304
    return message.what == "response" and has_no_body and bool(reading.values(b"transfer-encoding"))


def _upgrades(message: Message, reading: Reading) -> bool:
    # llhttp takes Proxy-Connection for Connection.
    says = reading.says(b"connection", b"upgrade") or reading.says(b"proxy-connection", b"upgrade")
    asks = says and bool(reading.values(b"upgrade"))
    return message.what == "request" and (asks or reading.method == b"CONNECT")


EXCEPTIONS: tuple[DocumentedException, ...] = (
    DocumentedException(
        "llhttp",
        "extension methods",
        "RFC 9110 §9.1 leaves the set of methods open, and a proxy passes on what it does not know; llhttp has a list",
        _request(b"BREW / HTTP/1.1"),
        lambda message, reading: message.what == "request" and reading.method not in LLHTTP_METHODS,
    ),
    DocumentedException(
        "llhttp",
        "loose chunk extensions",
        "we read over an extension without taking it apart and never pass it on (RFC 9112 §7.1.1: ignore them); "
        "it cannot hold CR, LF or a control character, so where the chunk begins is never in doubt",
        _chunked(b"5; a b\r\nhello\r\n0\r\n\r\n"),
        _has_loose_extension,
    ),
    DocumentedException(
        "h11",
        "white space before a chunk extension",
        "RFC 9112 §7.1.1 allows BWS before the semicolon, and a recipient has to parse it (RFC 9110 §5.6.3)",
        _chunked(b"5 ;a\r\nhello\r\n0\r\n\r\n"),
        _has_space_before_extension,
    ),
    DocumentedException(
        "llhttp",
        "framing fields in the trailers",
        "they mean nothing there: RFC 9110 §6.5.1 forbids merging them, splice_trailers leaves them out",
        _chunked(b"0\r\nContent-Length: 5\r\n\r\n"),
        _has_framing_trailer,
    ),
    DocumentedException(
        "h11",
        "framing fields in the trailers",
        "as with llhttp; h11 only minds values that are malformed",
        _chunked(b"0\r\nTransfer-Encoding: gzip\r\n\r\n"),
        _has_framing_trailer,
    ),
    DocumentedException(
        "h11",
        "Content-Length of more than 20 digits",
        "leading zeros are allowed (RFC 9110 §8.6: 1*DIGIT) and llhttp reads the same number; h11 stops at 20 digits",
        _request(b"POST / HTTP/1.1", b"Content-Length: 000000000000000000005", body=b"hello"),
        lambda message, reading: any(len(value) > 20 for value in reading.values(b"content-length")),
    ),
    DocumentedException(
        "llhttp",
        "upgrades of requests and CONNECT",
        "llhttp stops reading at the head of a request that asks for another protocol; to us its body is framed as "
        "ever, and the protocol changes only when the origin says 101 (RFC 9110 §7.8)",
        _request(b"POST / HTTP/1.1", b"Connection: upgrade", b"Upgrade: x", b"Content-Length: 5", body=b"hello"),
        _upgrades,
        is_body_other=True,
    ),
    DocumentedException(
        "llhttp",
        "101 that names no protocol",
        "httptools reports the pause behind such a 101 as an error; whether one was asked for is the exchange's affair",
        _response(b"HTTP/1.1 101 Switching Protocols"),
        lambda message, reading: reading.status == 101,
    ),
    DocumentedException(
        "llhttp",
        "Content-Length of interim responses",
        "a 1xx ends with its empty line (RFC 9112 §6.3); llhttp knows that of 100 to 103 only. We leave the field out",
        _response(b"HTTP/1.1 150 Later", b"Content-Length: 5"),
        lambda message, reading: 103 < reading.status < 200 and bool(reading.values(b"content-length")),
        is_body_other=True,
    ),
    DocumentedException(
        "llhttp",
        "a tab behind a transfer coding",
        "optional white space is spaces and tabs (RFC 9110 §5.6.3); llhttp takes only spaces, and a response whose "
        "coding has a tab behind it for one without a length. We write the coding anew, so nobody behind us meets it",
        _response(b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked\t", body=b"0\r\n\r\n"),
        _has_tab_behind_coding,
        is_body_other=True,
    ),
    DocumentedException(
        "llhttp",
        "transfer codings of responses without a body",
        "as with h11; llhttp only minds an empty one",
        _response(b"HTTP/1.1 304 Not Modified", b"Transfer-Encoding:"),
        _has_idle_coding,
    ),
    DocumentedException(
        "h11",
        "transfer codings of responses without a body",
        "to HEAD and in 304 the field says what would have been (RFC 9112 §6.1); it frames nothing and does not go on",
        _response(b"HTTP/1.1 304 Not Modified", b"Transfer-Encoding: gzip"),
        _has_idle_coding,
    ),
)
