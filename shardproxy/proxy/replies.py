"""Our own answers, prepared once: a status, a short JSON body, and the reason in a header field.

    HTTP/1.1 503 Service Unavailable
    Content-Type: application/json
    X-Shardproxy-Reason: overflow

    {"status": 503, "reason": "overflow", "message": "as many requests as allowed are being served"}
"""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

import msgspec

from shardproxy.http1.faults import FAULTS, FaultFacts


class Reply(NamedTuple):
    """`head` lacks its last fields and its empty line, which depend on the moment; `closes` as in the fault table."""

    status: int
    head: bytes
    body: bytes
    closes: bool


def _reply(facts: FaultFacts) -> Reply:
    if not facts.status:
        return Reply(0, b"", b"", True)
    status = HTTPStatus(facts.status)
    body = msgspec.json.encode({"status": facts.status, "reason": facts.name, "message": facts.sentence}) + b"\n"
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"X-Shardproxy-Reason: {facts.name}\r\n"
    )
    if facts.status == HTTPStatus.METHOD_NOT_ALLOWED:
        head += "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
    return Reply(facts.status, head.encode(), body, facts.closes)


# By the number of the fault.
REPLIES: tuple[Reply, ...] = tuple(_reply(facts) for facts in FAULTS)
