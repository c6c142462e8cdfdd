from typing import Final, final

from shardproxy.shm.segment import Segment

REFUSED: Final[int]
"""Instead of a ticket: the address has as many connections as it may have."""
UNCOUNTED: Final[int]
"""Instead of a ticket: no entry could be had for the address, so its connection is admitted without being counted."""

@final
class Addresses:
    """Connections per client address over all processes, as the process that owns `row` sees them.

    For how many addresses at once there is room: `Capacities.addresses`, in sets of 16 that a keyed hash chooses.
    """

    def __init__(self, segment: Segment, row: int) -> None:
        """Raises `IndexError` for a row that the segment does not have."""

    def enter(self, key: bytes, cap: int) -> int:
        """Count one more connection of the address `key` (any bytes): a ticket from 0 up, for `leave`.

        `REFUSED`, and nothing counted, if the address has `cap` connections already; two who ask for the last place at
        the same instant may both be refused. `UNCOUNTED`, and nothing counted, if 16 other addresses of the same set
        have connections. The counted ones of one address never exceed the cap, whatever other processes do at the same
        time and wherever one is killed.
        """

    def leave(self, ticket: int) -> None:
        """Give the place back. Does nothing for `REFUSED` and `UNCOUNTED`; `IndexError` for what cannot be a ticket.

        Each ticket once, and by the process that got it.
        """

    def total(self, ticket: int) -> int:
        """How many connections the address of a ticket has."""

    def in_use(self) -> int:
        """How many addresses have connections."""

    def clear_row(self, row: int) -> None:
        """Forget all that a row has counted. Only for the supervisor, and only once the row's process is dead."""

def siphash13(secret: bytes, data: bytes) -> int:
    """SipHash-1-3 of `data` with a secret of 16 bytes; for tests. Raises `ValueError` for another secret."""
