from enum import IntEnum
from typing import final

from shardproxy.shm.segment import Segment

class State(IntEnum):
    """Where a process is in its life."""

    GONE = 0
    """Nobody lives in the row."""
    STARTING = 1
    """Forked, not serving yet."""
    READY = 2
    """Serving."""
    DRAINING = 3
    """Finishing what runs, taking nothing new."""

class Kind(IntEnum):
    """What a process is there for. Means nothing while its row is GONE."""

    WORKER = 0
    CONTROLLER = 1
    SUPERVISOR = 2

@final
class Rows:
    """What each process says about itself. Every method raises `IndexError` for a row that is not there."""

    def __init__(self, segment: Segment) -> None: ...
    def claim(self, row: int, pid: int, generation: int, kind: Kind, requests_before: int = 0) -> None:
        """Give a row to a process: STARTING, heartbeat now. Raises `rows_used` if it does not reach the row yet.

        `requests_before` is what the row's counter of requests stands at: its former processes have counted that.
        For the supervisor, or for the process itself when the supervisor has raised `rows_used` before the fork.
        Claiming again for the same pid begins anew. Raises `ValueError` while the row still belongs to another.
        """

    def release(self, row: int) -> None:
        """Take the row back once its process is dead: GONE, pid and heartbeat 0. Does not lower `rows_used`."""

    def set_state(self, row: int, state: State) -> None: ...
    def beat(self, row: int, now_ns: int) -> None:
        """Say that the process is alive at `now_ns` (`time.monotonic_ns()`)."""

    def heartbeat(self, row: int) -> int:
        """The last beat, in ns of CLOCK_MONOTONIC; 0 while the row is GONE."""

    def requests_before(self, row: int) -> int:
        """What the former processes of the row have counted as requests."""

    def pid(self, row: int) -> int:
        """The process, 0 while the row is GONE."""

    def state(self, row: int) -> State: ...
    def generation(self, row: int) -> int: ...
    def kind(self, row: int) -> Kind: ...
