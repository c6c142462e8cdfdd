"""Healthy or not, from one result after the other: the thresholds, and nothing else.

    unknown ── first result ──> healthy <── `rise` good ones in a row ── failed
                          └───> failed  <── `fall` bad ones in a row ── healthy

The first result decides at once (Envoy); after it a status that is not expected counts like any other failure, as in
HAProxy, and unlike Envoy, which ignores its threshold there.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Standing:
    """Where one endpoint stands.  `rise` and `fall` are the thresholds; `streak` results in a row speak against it."""

    rise: int
    fall: int
    is_known: bool = False
    is_failed: bool = False
    streak: int = 0

    def note(self, is_good: bool) -> bool:
        """Take one more result in; whether the endpoint has changed sides, or taken one."""
        if not self.is_known:
            self.is_known, self.is_failed, self.streak = True, not is_good, 0
            return True
        if is_good is not self.is_failed:
            self.streak = 0
            return False
        self.streak += 1
        if self.streak < (self.rise if self.is_failed else self.fall):
            return False
        self.is_failed, self.streak = not self.is_failed, 0
        return True
