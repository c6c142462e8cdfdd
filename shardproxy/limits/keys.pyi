from collections.abc import Sequence

class Key:
    """What a limit is kept by: 1 to 4 parts `(source, name, ipv4, ipv6)`, in which `source` is `client`, `header`,
    `cookie`, `query` or `path` (whose name is what stands before the segment), and the last two are how many bits of a
    client's address count."""

    needs_client: bool
    def __init__(self, parts: Sequence[tuple[str, bytes, int, int]]) -> None: ...
    def hash_of(self, secret: bytes, *values: bytes) -> int:
        """What a request with these values is counted under: one for each part; of a client, its address."""
