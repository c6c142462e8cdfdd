"""How many requests a second an origin can bear, found out from how it fares: additive increase, multiplicative
decrease (Chiu and Jain 1989; the congestion avoidance of TCP).

While all is well and the rate is used up, each look adds a step; when too many requests fail or take too long, a
third is taken off.  What was admitted before shows for a while longer, so the look after a decrease is passed over.
"""

from __future__ import annotations

from dataclasses import dataclass

DECREASE = 2 / 3
USED = 0.8  # of the rate: with less admitted, the origin says nothing about a higher one
FEWEST = 10  # requests that say something; looks that saw fewer are taken together
LONGEST_S = 10.0  # then so few must do


@dataclass(frozen=True)
class RateLook:
    """What was seen since the last look, `seconds` ago: requests the limit let through, how many of the cluster's ended
    or failed, within which time 95 of 100 of them were complete (ns), and which share failed (0 to 1)."""

    seconds: float
    admitted: int
    ended: int
    slow_ns: float
    failed: float = 0.0

    def and_then(self, later: RateLook) -> RateLook:
        """Both as one; slow is what was slow in either."""
        ended = self.ended + later.ended
        failed = (self.failed * self.ended + later.failed * later.ended) / max(ended, 1)
        seconds, admitted = self.seconds + later.seconds, self.admitted + later.admitted
        return RateLook(seconds, admitted, ended, max(self.slow_ns, later.slow_ns), failed)

    @property
    def says_something(self) -> bool:
        return self.ended >= FEWEST or (self.ended > 0 and self.seconds >= LONGEST_S)


NOTHING = RateLook(0.0, 0, 0, 0.0)


@dataclass
class Pace:
    """Finds a rate a second, from `least` to `most`; `rate` is the present one.

    `failed` is the share of failures that is too high, `latency_ns` what is too long (0: nothing is), `step` what a
    look adds.
    """

    least: float
    most: float
    rate: float
    failed: float
    latency_ns: int
    step: float
    has_just_fallen: bool = False
    seen: RateLook = NOTHING

    def look(self, look: RateLook) -> float:
        """The rate from now on."""
        if self.has_just_fallen:
            self.has_just_fallen, self.seen = False, NOTHING
            return self.rate
        self.seen = self.seen.and_then(look)
        if self.seen.says_something:
            self._go_by(self.seen)
            self.seen = NOTHING
        return self.rate

    def _go_by(self, look: RateLook) -> None:
        if look.failed > self.failed or 0 < self.latency_ns < look.slow_ns:
            self.rate = max(self.least, self.rate * DECREASE)
            self.has_just_fallen = True
        elif look.admitted >= USED * self.rate * look.seconds:
            self.rate = min(self.most, self.rate + self.step)
