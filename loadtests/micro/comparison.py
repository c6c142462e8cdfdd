"""The table of instruction counts, and what is new in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FREE_INSTRUCTIONS = 2.0  # what an operation may grow by in any case: of a few dozen, one is several percent
SAME_PERCENT = 0.05


@dataclass(frozen=True)
class Change:
    """One operation, before (None: it is new) and now (None: it is gone); in instructions."""

    name: str
    before: float | None
    now: float | None

    @property
    def percent(self) -> float | None:
        """By how much it has grown; below 0 it costs less. None where there is nothing to compare."""
        return None if self.before is None or self.now is None else (self.now / self.before - 1) * 100

    def is_growth(self, percent: float) -> bool:
        """Whether it has grown by more than `percent`, and by more than FREE_INSTRUCTIONS."""
        if self.before is None or self.now is None:
            return False
        return self.now - self.before > max(FREE_INSTRUCTIONS, self.before * percent / 100)

    def __str__(self) -> str:
        return f"{self.name:28}{_count(self.before)}{_count(self.now)}  {self._verdict()}".rstrip()

    def _verdict(self) -> str:
        if self.percent is None:
            return "new" if self.before is None else "gone"
        return "" if abs(self.percent) < SAME_PERCENT else f"{self.percent:+.1f} %"


def _count(instructions: float | None) -> str:
    return f"{'-' if instructions is None else f'{instructions:,.1f}':>12}"


def changes(before: Mapping[str, float], now: Mapping[str, float]) -> Iterator[Change]:
    """All operations: those that are counted now in their order, then those that are gone."""
    for name in (*now, *(name for name in before if name not in now)):
        yield Change(name, before.get(name), now.get(name))


@dataclass(frozen=True)
class Counts:
    """What is kept: instructions by operation, and the tools that they were counted with."""

    tools: dict[str, str]
    instructions: dict[str, float]

    @classmethod
    def read(cls, path: Path) -> Counts | None:
        """None where there is no such table yet."""
        if not path.exists():
            return None
        said = json.loads(path.read_text())
        return cls(said["tools"], said["instructions"])

    def write(self, path: Path) -> None:
        path.write_text(json.dumps({"tools": self.tools, "instructions": self.instructions}, indent=2) + "\n")

    def other_tools(self, present: Mapping[str, str]) -> list[str]:
        """Which tools are not those of the table, each a phrase."""
        kept = self.tools
        return [f"{tool} {kept.get(tool)!r}, here {here!r}" for tool, here in present.items() if kept.get(tool) != here]
