from typing import Literal, TypedDict, final

class HeadFacts(TypedDict):
    """What the start line and the connection options said; what a message does not have is empty or 0."""

    method: bytes
    target: bytes
    path: bytes
    host: bytes
    status: int
    minor: int
    size: int
    close: bool
    keep_alive: bool
    upgrade: bool

@final
class Head:
    """The head of one message; can be used again for the next one."""

    def read(
        self,
        data: bytes,
        what: Literal["request", "response"] = "request",
        *,
        max_bytes: int = 32768,
        max_fields: int = 100,
    ) -> str:
        """Scan `data` from its first byte: "ok", "need_more", or the name of a fault in `faults.NAMES`.

        `max_bytes` bounds the whole head and the request target, `max_fields` the number of its fields. Bytes behind
        the head are not looked at.
        """

    @property
    def facts(self) -> HeadFacts:
        """What `read` found; only defined after it said "ok". `size` counts bytes, the empty line included."""

    @property
    def items(self) -> list[tuple[bytes, bytes, bool]]:
        """Name, value and "ends here" of each field in order, white space around the values removed."""
