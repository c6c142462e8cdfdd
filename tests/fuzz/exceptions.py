"""Where our codec accepts what llhttp or h11 refuse or frame otherwise: each case with its reason and a sample.

An exception excuses a refusal by that parser, or (`is_body_other`) that it does not read the body as one. It never
excuses another method, target or field. `tests/property/test_codec_against_llhttp.py` shows that each still happens.
"""

from __future__ import annotations

import re
from collections.abc import Callable
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
    b"DELETE GET HEAD POST PUT CONNECT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND REBIND UNBIND "
    b"ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK UNLINK QUERY".split()
)


def _request(line: bytes, *fields: bytes, body: bytes = b"") -> Message:
    return Message("request", b"\r\n".join((line, b"Host: a.test", *fields, b"", body)))


def _response(line: bytes, *fields: bytes, body: bytes = b"") -> Message:
    return Message("response", b"\r\n".join((line, *fields, b"", body)))


def _body(message: Message, reading: Reading) -> bytes:
    """The bytes of a chunked body with its framing."""
    return message.data[reading.head_size : reading.used] if reading.kind == "chunked" else b""


def _upgrades(message: Message, reading: Reading) -> bool:
    asks = reading.says(b"connection", b"upgrade") and bool(reading.values(b"upgrade"))
    return message.what == "request" and asks


EXCEPTIONS: tuple[DocumentedException, ...] = ()
