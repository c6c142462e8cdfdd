from collections.abc import Sequence

class Cookie:
    """A cookie that is given to clients who come without it: for `ttl_s` seconds (0: until the browser is closed)."""

    def __init__(self, name: str, path: str, ttl_s: int) -> None: ...

class HashPolicy:
    """What a route keeps requests together by: the first source that yields a value.

    A source is a part `(source, name, ipv4, ipv6)` of `shardproxy.limits.keys.Key`, or a `Cookie` to give.
    """

    def __init__(self, sources: Sequence[tuple[str, bytes, int, int] | Cookie]) -> None: ...
