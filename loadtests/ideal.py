"""The token bucket that a limit is held against: simulated on the same arrivals."""

from __future__ import annotations

from collections.abc import Iterable


def admitted(arrivals: Iterable[tuple[float, int]], rate: float, burst: float) -> int:
    """Of `arrivals` (when, in seconds and in order, and how many at once) those that a bucket admits which is full at
    the first of them."""
    tokens, last, total = burst, None, 0
    for when, count in arrivals:
        tokens = min(burst, tokens + rate * (when - last)) if last is not None else burst
        last = when
        taken = min(count, int(tokens + 1e-9))
        tokens -= taken
        total += taken
    return total
