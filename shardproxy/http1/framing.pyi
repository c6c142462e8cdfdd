from typing import Literal

from shardproxy.http1.head import Head

Kind = Literal["none", "length", "chunked", "until_close", "tunnel"]

def request_framing(head: Head) -> tuple[str, Kind, int]:
    """(fault, kind, length) of a request whose head has been read; the fault is "ok" or a name in `faults.NAMES`."""

def response_framing(head: Head, method: bytes) -> tuple[str, Kind, int]:
    """(fault, kind, length) of a response to a request with this method."""

class Body:
    """Reads one body from pieces as they arrive; `length` counts for the kind "length" only."""

    def __init__(self, kind: Kind, length: int = 0) -> None: ...
    def feed(self, data: bytes) -> tuple[str, bytes, int]:
        """(fault, payload, bytes used). Bytes not used belong to the next message; after a fault feed no more."""

    @property
    def is_done(self) -> bool:
        """Has the last byte of the body been read? Never true of "until_close" and "tunnel"."""
