"""Where values stand in the file, and what has been found wrong where."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

Path: TypeAlias = tuple[str | int, ...]


MAX_ERRORS = 500


class TooMany(Exception):
    """So much is wrong that going on would only cost time."""


class Note(NamedTuple):
    path: Path
    line: int
    sentence: str


@dataclass
class Places:
    """The line of every value that was read, by path, and the errors noted so far."""

    lines: dict[Path, int] = field(default_factory=dict)
    errors: list[Note] = field(default_factory=list)

    def note(self, path: Path, sentence: str, line: int | None = None) -> None:
        """Something is wrong at `path`; without `line`, the value's own line or that of what holds it.

        Raises `TooMany` when `MAX_ERRORS` are noted.
        """
        if len(self.errors) == MAX_ERRORS:
            raise TooMany
        self.errors.append(Note(path, self.line(path) if line is None else line, sentence))

    def line(self, path: Path) -> int:
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def path_text(path: Path) -> str:
    """`listeners[0].routes[1].match`; a key that is not a plain word stands in quotes."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{_key_text(part)}" for part in path]
    return "".join(parts).removeprefix(".")


def _key_text(key: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", key):
        return key
    return repr(key if len(key) <= 64 else f"{key[:60]}...")
