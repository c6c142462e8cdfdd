"""The watchdog of one child: decides from its heartbeat what to do; acting is for others.

    trusted --- no beat for `patience` --> asked for its stacks --- still none after 1 s --> to be killed
       ^------------------- it beats again ------------------------|

It may beat again because it was slow, or because all of us were stopped together (Ctrl-Z, a frozen container) and only
the supervisor has woken so far.
"""

from __future__ import annotations

from enum import Enum, auto

# Time for writing the stacks, and for a child that was stopped together with the supervisor to come back.
LAST_CHANCE_NS = 1_000_000_000


class Verdict(Enum):
    NOTHING = auto()
    ASK = auto()
    """Ask for its stacks."""
    RELIEVED = auto()
    """It had been asked, and is alive after all."""
    KILL = auto()


class Watch:
    """`patience_ns`: how old a heartbeat may become (the configuration's `watchdog`)."""

    def __init__(self, patience_ns: int, born_ns: int) -> None:
        self._patience_ns = patience_ns
        self._last_beat_ns = born_ns
        self._asked_ns: int | None = None

    def __repr__(self) -> str:
        return f"<Watch {'trusting' if self._asked_ns is None else 'asked'}>"

    def look(self, beat_ns: int, now_ns: int) -> Verdict:
        """`beat_ns` is the child's last heartbeat, 0 if it has not had any yet."""
        has_moved = beat_ns > self._last_beat_ns
        self._last_beat_ns = max(beat_ns, self._last_beat_ns)
        if self._asked_ns is None:
            return self._trust(now_ns)
        if has_moved:
            self._asked_ns = None
            return Verdict.RELIEVED
        return Verdict.KILL if now_ns - self._asked_ns >= LAST_CHANCE_NS else Verdict.NOTHING

    def silent_ns(self, now_ns: int) -> int:
        """How long it has given no sign of life."""
        return now_ns - self._last_beat_ns

    def due_ns(self) -> int:
        """When to look again at the latest, CLOCK_MONOTONIC."""
        if self._asked_ns is None:
            return self._last_beat_ns + self._patience_ns
        return self._asked_ns + LAST_CHANCE_NS

    def _trust(self, now_ns: int) -> Verdict:
        if self.silent_ns(now_ns) < self._patience_ns:
            return Verdict.NOTHING
        self._asked_ns = now_ns
        return Verdict.ASK
