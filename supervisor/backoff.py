"""How long to wait before the next attempt: not at all the first time, then ever longer while it keeps failing.

Who has served for a while is waited for by clients in its accept queue, so its successor comes soon all the same.
"""

from __future__ import annotations

FIRST_NS = 100_000_000
LONGEST_NS = 10_000_000_000
# Who has lived this long was not a failed attempt.
LONG_LIFE_NS = 10_000_000_000
# Who has lived this long has served, and its successor comes within the other.
SOME_LIFE_NS = 1_000_000_000
LONGEST_AFTER_SERVICE_NS = 400_000_000


class Backoff:
    """0, 0.1 s, 0.2 s, 0.4 s ... 10 s, and from the beginning again after a long life; at most 0.4 s after some."""

    def __init__(self) -> None:
        self._next_ns = 0

    def __repr__(self) -> str:
        return f"<Backoff next={self._next_ns / 1e9:g}s>"

    def after(self, lived_ns: int) -> int:
        """How long to wait, in ns, after a life of `lived_ns`."""
        delay_ns = 0 if lived_ns >= LONG_LIFE_NS else self._next_ns
        if lived_ns >= SOME_LIFE_NS:
            delay_ns = min(delay_ns, LONGEST_AFTER_SERVICE_NS)
        self._next_ns = min(delay_ns * 2, LONGEST_NS) if delay_ns else FIRST_NS
        return delay_ns
