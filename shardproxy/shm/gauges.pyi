from typing import final

from shardproxy.shm.segment import Segment

@final
class Gauges:
    """The gauges of a segment, as the process that owns `row` sees them.

    Every method raises `IndexError` for a slot or row that the segment does not have.
    """

    def __init__(self, segment: Segment, row: int) -> None: ...
    def add(self, slot: int, delta: int) -> None:
        """Add to the own row's cell; `delta` may be negative."""

    def total(self, slot: int) -> int:
        """The sum over all rows in use."""

    def row_value(self, slot: int, row: int) -> int:
        """What one row has added."""

    def reserve(self, slot: int, cap: int) -> bool:
        """Add one if the total stays within `cap`; false, and nothing added, if not.

        The total of reserved places never exceeds the cap, whatever other processes do at the same time.
        """

    def clear_row(self, row: int) -> None:
        """Forget all that a row has added. Only for the supervisor, and only once the row's process is dead."""
