from shardproxy.http1.head import Head

def forwarded_request(
    head: Head,
    *,
    peer: bytes = b"192.0.2.1",
    request_id: bytes = b"id",
    via: bytes = b"",
    upgrade: bytes = b"",
    path: bytes = b"",
    chunked: bool = False,
) -> bytes:
    """The head as it goes on to an origin that is called `origin.test`.

    `peer` is the client's address, `via` a whole field line or empty, `upgrade` the protocol to ask for, `path`
    replaces the target's path, `chunked` says how the body is framed.
    """

def forwarded_response(
    head: Head, *, connection: bytes = b"", date: bytes = b"Date: D\r\n", via: bytes = b"", chunked: bool = False
) -> bytes:
    """The head as it goes on to the client; `connection`, `date` and `via` are whole field lines or empty."""
