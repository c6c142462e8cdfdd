"""How many requests at a time an origin can bear, found out from how long they take.

`Gradient` compares how long requests take now with how long they take when nothing queues (Netflix's
concurrency-limits, Envoy's adaptive concurrency). The baseline is not measured by pinning the limit to a few requests
now and then (Envoy's minRTT probe, which refuses almost everything meanwhile: Envoy issues 46532 and 38338) but learned
from live traffic: how long the middle request of each look took, of the last 45 looks the least but one. So that among
them is a moment in which nothing queues even if the limit is above what the origin can do, now and then there is a dip:
half the limit, for two looks, as BBR drains its queue (Cardwell and others 2016). With that the limit cannot drift:
were the origin saturated even in the dip, the baseline would be half the latency, 1.25 x 1/2 is less than 1, and the
limit would fall.

Until it has met the first queue it grows by half with each look, as TCP does in its slow start.

`Aimd` knows no baseline, but a latency that is too much: more by one while all is well, less by a tenth when not.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

DIP = 0.5
DIP_LOOKS = 2  # in the first the queue drains, in the second nothing queues
CYCLE = 15  # looks from one dip to the next
QUICK_CYCLE = 5  # the same while the dip has shown that there was much of a queue
MUCH = 1.6  # times as long as in the dip
MEMORY = 45  # looks for which a baseline holds
LEAST_GRADIENT = 0.5
BUSY = 0.8  # of the limit: with less under way, the origin says nothing about a higher one
FEWEST = 10  # requests of a look that says something
LONGEST = 10  # looks without enough of them: then it counts as stalled
AIMD_DECREASE = 0.9


@dataclass(frozen=True)
class Look:
    """What was seen since the last look: requests that ended, how long the middle one took (ns), how many are under way
    now, and which share failed (0 to 1)."""

    ended: int
    middle_ns: float
    active: int
    failed: float = 0.0


class Concurrency(Protocol):
    """Finds a limit; `limit` is the present one."""

    limit: float

    def look(self, look: Look) -> int:
        """The limit from now on."""
        ...


@dataclass
class Gradient:
    """`tolerance` is how much longer than the baseline requests may take, as a share of it (Envoy: 0.25)."""

    least: int
    most: int
    limit: float
    tolerance: float = 0.25
    until_dip: int = QUICK_CYCLE
    before_dip_ns: float = 0.0
    silent: int = 0
    has_met_a_queue: bool = False
    middles: deque[float] = field(default_factory=lambda: deque(maxlen=MEMORY))

    @property
    def baseline_ns(self) -> float:
        """How long requests take when nothing queues; 0 while nothing is known. The least of all may be mere luck."""
        return sorted(self.middles)[:2][-1] if self.middles else 0.0

    def look(self, look: Look) -> int:
        if look.ended < FEWEST:
            return self._silence(look)
        self.silent = 0
        self.middles.append(look.middle_ns)
        wanted = self._wanted(self._gradient(look))
        if look.active >= BUSY * self.limit or wanted < self.limit:
            self._move(wanted)
        return max(self.least, round(self.limit * DIP)) if self._dips(look) else round(self.limit)

    def _dips(self, look: Look) -> bool:
        """Whether the next look is one of a dip."""
        self.until_dip -= 1
        if self.until_dip == 0:
            self.before_dip_ns = look.middle_ns
        elif self.until_dip == -DIP_LOOKS:
            self.until_dip = QUICK_CYCLE if self.before_dip_ns > MUCH * look.middle_ns else CYCLE
        return self.until_dip <= 0

    def _wanted(self, gradient: float) -> float:
        self.has_met_a_queue = self.has_met_a_queue or gradient < 1
        growth = math.sqrt(self.limit) if self.has_met_a_queue else self.limit
        return gradient * self.limit + growth

    def _gradient(self, look: Look) -> float:
        wanted = self.baseline_ns * (1 + self.tolerance) / max(look.middle_ns, 1.0)
        return max(LEAST_GRADIENT, min(1.0, wanted))

    def _silence(self, look: Look) -> int:
        """Too few to say anything; but if much is under way and for long nothing ends, the origin stands still."""
        self.silent += 1
        if self.silent >= LONGEST and look.active >= BUSY * self.limit:
            self.silent = 0
            self._move(self.limit * LEAST_GRADIENT)
        return round(self.limit)

    def _move(self, limit: float) -> None:
        self.limit = max(float(self.least), min(float(self.most), (self.limit + limit) / 2))


@dataclass
class Aimd:
    """`latency_ns` is what is too long for the middle request, `failed` the share of failures that is too high."""

    least: int
    most: int
    limit: float
    latency_ns: int
    failed: float = 0.1

    def look(self, look: Look) -> int:
        if look.ended and (look.middle_ns > self.latency_ns or look.failed > self.failed):
            self.limit = max(float(self.least), self.limit * AIMD_DECREASE)
        elif look.ended >= FEWEST and look.active >= BUSY * self.limit:
            self.limit = min(float(self.most), self.limit + 1)
        return round(self.limit)
