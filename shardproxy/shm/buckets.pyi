from typing import final

from shardproxy.shm.segment import Segment
from shardproxy.shm.words import Words

TICKS_PER_S: int
"""The unit of intervals: 1/16 ns."""

@final
class Buckets:
    """The bucket words of a segment."""

    def __init__(self, segment: Segment) -> None: ...

@final
class Bucket:
    """One token bucket that all processes take from: `rate_per_s` tokens a second, at most `burst` saved up.

    The rate belongs to the slot: `rate_per_s` holds if the slot has none yet, and `set_rate` gives it another one. The
    burst belongs to this object. What is missing in the bucket stays the same at another burst: of a larger one there
    is at once by as much more as it is larger, and of a smaller one there is never more missing than all of it.
    It starts full. A token's interval is rounded up to 1/16 ns, so the true rate is never above the one asked for and
    under 0.07 % below it up to 10 million a second. A burst that would take over 4.5 years to fill is cut to that.
    Raises `ValueError` for a rate that is not above 0 or a burst below 1, `IndexError` for a slot that is not there.
    """

    slot: int
    def __init__(self, buckets: Buckets, slot: int, rate_per_s: float, burst: int) -> None: ...
    @property
    def rate_per_s(self) -> float:
        """The rate after rounding."""

    @property
    def burst(self) -> int:
        """The most tokens it holds."""

    def set_rate(
        self, rate_per_s: float, now_ns: int, *, patience_ns: int = 0, keeps_time: bool = False
    ) -> None:
        """From now on tokens come at another rate, for all processes; as many are missing as before.

        At most those of a whole burst are, and what may be taken up to `patience_ns` before it is there. With
        `keeps_time` it is the time until the bucket is full that stays as it is: for a limit that follows an
        interval, which goes on, so that its tokens are not those of the rate. For one process only, the supervisor.
        Raises `ValueError` for a rate that is not above 0.
        """

    def follow(self, words: Words, slot: int) -> None:
        """Go by the interval (ticks a token) in that word, unless it is 0; a burst lasts as long as before."""

    def take(self, now_ns: int, cost: int = 1) -> int:
        """0 if `cost` tokens were there and are taken; else the ns until they would be, and nothing is taken.

        A cost above the burst can never be met: 2**63 - 1. Over any window of `now_ns` (`time.monotonic_ns()`) all
        processes together take at most rate * window + burst.
        """

    def give_back(self, cost: int = 1) -> None:
        """Undo a `take` that was admitted, because what it was for was refused elsewhere. At once, or not at all."""

    def tokens(self, now_ns: int) -> float:
        """How many tokens are there."""
