"""From pressure to action, with hysteresis (Envoy's overload manager: threshold triggers)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass
class Trigger:
    """On from `at` on, until the pressure is below `until` again; in between it stays as it is."""

    at: int
    until: int
    is_on: bool = False

    def look(self, pressure: int) -> bool:
        """Whether it is on now."""
        self.is_on = pressure >= (self.until if self.is_on else self.at)
        return self.is_on


@dataclass
class Pressures:
    """What is measured, each with what counts as full; both in the same unit."""

    full: Mapping[str, float]

    def percent(self, measured: Mapping[str, float]) -> dict[str, int]:
        """Rounded down; only of what has a measure of fullness."""
        return {name: int(100 * measured[name] / full) for name, full in self.full.items()}
