from typing import Literal

from shardproxy.http1.head import Head

def value_of(head: Head, kind: Literal["header", "cookie", "query"], name: bytes) -> bytes | None:
    """The first value of that name (of a header field in lower case), as it stands in the head; None: there is none."""
