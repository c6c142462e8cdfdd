from collections.abc import Sequence
from typing import Final, final

from shardproxy.shm.segment import Segment

HISTOGRAM_COUNTS: Final[int]
"""How many parts a histogram has."""

@final
class Metrics:
    """The counters and histograms of a segment, as the process that owns `row` sees them.

    Every method raises `IndexError` for a slot or row that the segment does not have.
    """

    def __init__(self, segment: Segment, row: int) -> None: ...
    def count(self, slot: int, n: int = 1) -> None:
        """Add `n` to the own row's counter."""

    def observe_ns(self, slot: int, ns: int) -> None:
        """Count one duration in the own row's histogram."""

    def counter_total(self, slot: int) -> int:
        """The sum over all rows that were ever in use. It never falls as long as the slot keeps its name."""

    def counter_row(self, slot: int, row: int) -> int:
        """What one row has counted, all processes together that it has belonged to."""

    def histogram_total(self, slot: int) -> list[int]:
        """How many durations fell into each part, over all rows: what `quantile` wants."""

    def histogram_sum_ns(self, slot: int) -> int:
        """The sum of all durations, in ns; with their number it gives the mean."""

def part_bounds_ns(part: int) -> tuple[int, int]:
    """The shortest duration of a part, and the first that is too long for it. The end parts take all beyond too."""

def quantile(counts: Sequence[int], q: float) -> float:
    """The duration in ns that a share `q` (0 to 1) of all stayed within, to 6.25 %; 0.0 when there were none.

    It is the middle of the part with the nearest rank: the ceil(q * n)-th shortest. Raises `ValueError` for another q.
    """
