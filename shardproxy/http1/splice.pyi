from typing import Literal, final

from shardproxy.http1.head import Head

@final
class Scratch:
    """A buffer in which heads are joined, one after the other."""

def forwarded_request(
    head: Head,
    *,
    peer: bytes = b"192.0.2.1",
    request_id: bytes = b"id",
    via: bytes = b"",
    upgrade: bytes = b"",
    path: bytes = b"",
    chunked: bool = False,
    belief: Literal["none asked", "trusted", "replaced"] = "none asked",
    forwarded: bool = False,
    client_field: bytes = b"",
    client: bytes = b"",
    scratch: Scratch | None = None,
) -> bytes:
    """The head as it goes on to an origin that is called `origin.test`.  Raises `MemoryError`.

    `peer` is the client's address, `via` a whole field line or empty, `upgrade` the protocol to ask for, `path`
    replaces the target's path, `chunked` says how the body is framed.  `belief` is what becomes of X-Forwarded-* that
    came, `forwarded` adds Forwarded, `client_field` the address `client` in a field of that name.  The head is
    joined in `scratch`, or in a buffer of its own.
    """

def forwarded_response(
    head: Head, *, connection: bytes = b"", date: bytes = b"Date: D\r\n", via: bytes = b"", chunked: bool = False
) -> bytes:
    """The head as it goes on to the client; `connection`, `date` and `via` are whole field lines or empty."""
