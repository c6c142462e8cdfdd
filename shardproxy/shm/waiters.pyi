from collections.abc import Sequence
from typing import final

from shardproxy.shm.segment import Segment

@final
class Waiters:
    """Who waits for a free place in each queue, as the process that owns `row` sees it, and the bells to wake others.

    `bells` are eventfds by row; they stay the caller's. Without them nobody is woken. Every method raises `IndexError`
    for a queue or row that the segment does not have.
    """

    bell: int
    """The own one, or -1."""
    def __init__(self, segment: Segment, row: int, bells: Sequence[int] = ()) -> None: ...
    def publish(self, queue: int, rank: int, since_ns: int) -> None:
        """The first who waits in this process: class (0 is served first) and arrival (CLOCK_MONOTONIC)."""

    def withdraw(self, queue: int) -> None:
        """Nobody waits in this process."""

    def best(self, queue: int) -> int | None:
        """The row whose waiter is to be served next: of the best class, the one that came first."""

    def ring(self, row: int) -> None:
        """Make the process of that row look."""

    def ring_all(self) -> None:
        """Make all who wait anywhere look."""

    def clear_row(self, row: int) -> None:
        """Forget who waited in a process that is dead. Only for the supervisor."""

    def forget_bells(self) -> None:
        """They are closed; ring no more."""
