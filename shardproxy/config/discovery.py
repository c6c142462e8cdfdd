"""What a user can write about where a cluster's endpoints are found at run time."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, NamedTuple

from msgspec import Meta

from shardproxy.config.forms import Form
from shardproxy.config.words import MINUTE, SECOND, Bind, Timeout, Words, says

_URL = r"dns://([A-Za-z0-9_.-]+):([0-9]{1,5})|dns\+srv://([A-Za-z0-9_.-]+)"
MAX_NAME = 253


class Question(NamedTuple):
    """What is asked for: addresses of `name`, all with `port`; without a port, SRV records, which name both."""

    name: str
    port: int | None


def question(url: str) -> Question:
    """What `parse_url` has let through, in its parts."""
    found = re.fullmatch(_URL, url)
    assert found is not None
    return Question(found[3], None) if found[3] else Question(found[1], int(found[2]))


def parse_url(text: str) -> str:
    """`dns://app.internal:8080`, or `dns+srv://_http._tcp.app.internal`, where SRV records name ports and weights."""
    found = re.fullmatch(_URL, text)
    if not found or not 0 < int(found[2] or 1) < 65536:
        raise ValueError(f"{text!r} is no name to look up; write dns://app.internal:8080 or dns+srv://_http._tcp.app")
    labels = (found[1] or found[3]).removesuffix(".").split(".")
    if not all(0 < len(label) < 64 for label in labels) or len(text) > MAX_NAME:
        raise ValueError(f"{text!r} has a name that DNS does not allow")
    return text


DNS_NAME = Form("DNS name", parse_url, str, f"^({_URL})$", ("dns://app.internal:8080", "dns+srv://_http._tcp.app"))


class Dns(Words, frozen=True, kw_only=True):
    """A name in DNS whose records are the endpoints; `endpoints: dns://app.internal:8080` alone may stand for it."""

    lone: ClassVar[str | None] = "name"

    name: Annotated[
        str,
        Meta(extra={"form": DNS_NAME}),
        says(
            "What to look up: `dns://NAME:PORT` (A and AAAA records), or `dns+srv://_SERVICE._PROTOCOL.NAME` "
            "(SRV records, which say port and weight)."
        ),
    ]
    resolver: Annotated[Bind | None, says("The server to ask.", otherwise="those of /etc/resolv.conf")] = None
    min_ttl: Annotated[Timeout, says("Ask no sooner than this, whatever the answer's time to live.")] = SECOND
    max_ttl: Annotated[Timeout, says("Ask no later than this, and after failures at most so far apart.")] = MINUTE
    timeout: Annotated[Timeout, says("How long to wait for an answer.")] = 5 * SECOND
