from typing import final

from shardproxy.shm.segment import Segment

@final
class Words:
    """The words of a segment: signed 64-bit numbers that all processes read and write; 0 to begin with.

    Every method raises `IndexError` for a slot that the segment does not have.
    """

    slots: int
    def __init__(self, segment: Segment) -> None: ...
    def load(self, slot: int) -> int: ...
    def store(self, slot: int, value: int) -> None: ...
    def add(self, slot: int, delta: int) -> int:
        """What it was before. Nothing that others add at the same time is lost."""
