"""How many tokens of a limit that several machines share this machine should have at hand. Pure maths.

Twice what requests asked for between two trips to the store, at the most in the last eight: a little more than is
needed until the next one, also where requests come in bursts. Those that were refused count as well, so a machine that
gets more work has more tokens after one trip. What it no longer needs it gives back with the next one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

TRIPS = 8
AHEAD = 2


@dataclass
class Demand:
    """What was asked for lately, tokens from one trip to the next."""

    asked: deque[int] = field(default_factory=lambda: deque(maxlen=TRIPS))

    def note(self, asked: int) -> None:
        self.asked.append(max(0, asked))

    def wanted(self, burst: int) -> int:
        """Tokens to have at hand, at most a whole burst; 0 while nobody asks."""
        return min(burst, AHEAD * max(self.asked, default=0))
