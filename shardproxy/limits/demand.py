"""What was asked for lately, and which token bucket would have refused nothing of it: for limits that run dry."""

from __future__ import annotations

import math
from collections import deque
from itertools import accumulate, islice
from operator import sub

LOOK_S = 0.2
LOOKS = 3000  # ten minutes
WINDOW = 50  # looks, 10 s: the rate is the highest mean over so long
MARGIN = 1.1


class Demand:
    """Requests by look."""

    def __init__(self) -> None:
        self._counts: deque[int] = deque(maxlen=LOOKS)

    def note(self, count: int) -> None:
        """So many came since the last look."""
        self._counts.append(count)

    def suggestion(self) -> tuple[float, int] | None:
        """A rate a second and a burst; None until 10 s are known, or when nothing came.  Cost: two passes over all.

        The rate is a tenth above the highest mean of 10 s; the burst what a bucket of that rate must have held, and a
        tenth more, since when within a look a request came is not known.
        """
        if len(self._counts) < WINDOW or not any(self._counts):
            return None
        rate = self._highest_mean() * MARGIN
        return rate, math.ceil(self._largest_debt(rate) * MARGIN)

    def _highest_mean(self) -> float:
        changes = map(sub, islice(self._counts, WINDOW, None), self._counts)  # who enters the window, who leaves it
        highest: int = max(accumulate(changes, initial=sum(islice(self._counts, WINDOW))))
        return highest / (WINDOW * LOOK_S)

    def _largest_debt(self, rate: float) -> float:
        """As if all requests of a look came at once, at its end, and tokens as they do."""
        debt = largest = 0.0
        for count in self._counts:
            debt = max(0.0, debt - rate * LOOK_S) + count
            largest = max(largest, debt)
        return largest
