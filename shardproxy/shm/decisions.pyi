from typing import Final, final

from shardproxy.shm.segment import Segment

FAILED_CHECK: Final = 1
"""Flag: its active checks fail. With it the endpoint is left out."""
EJECTED: Final = 2
"""Flag: requests to it went too badly. With it the endpoint is left out."""
CHECKED: Final = 0x100
"""Flag: at least one check has come to an end. Without a flag of the lowest eight the endpoint is used."""

@final
class Decisions:
    """The decisions of a segment. The controller writes them, all others only read; nothing decided is all zero.

    Every method raises `IndexError` for a slot that the segment does not have.
    """

    slots: int
    def __init__(self, segment: Segment) -> None: ...
    def flags(self, slot: int) -> int:
        """Of the endpoint with that slot; 0 is "use it"."""

    def reason(self, slot: int) -> int:
        """Why, as it was given to `decide`."""

    def since_ns(self, slot: int) -> int:
        """CLOCK_MONOTONIC of the last decision; 0 when there was none."""

    def is_out(self, slot: int) -> bool:
        """Whether workers leave the endpoint out: one of the lowest eight flags is set."""

    def decide(self, slot: int, flags: int, reason: int, now_ns: int) -> None:
        """Set all of it. The flags, which workers read, come last."""

    def withdraw(self, slot: int, flags: int) -> None:
        """Take these flags back; when none is left, it is as if nothing had been decided."""

    def clear(self, slot: int) -> None:
        """Nothing is decided about this endpoint any more."""
