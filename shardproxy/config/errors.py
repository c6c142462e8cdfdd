"""What is wrong with a file: where, and in a plain sentence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConfigError:
    """One thing to correct.

    `line` counts from 1 and is 0 when the file as a whole is meant; `path` is `listeners[0].bind`, or empty when no key
    is to blame.
    """

    file: str
    line: int
    path: str
    sentence: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.path}: {self.sentence}" if self.path else f"{place}: {self.sentence}"


class ConfigErrors(Exception):
    """All that is wrong with a file, in the order of its lines; as text one `FILE:LINE: PATH: sentence` per line."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors: list[ConfigError] = sorted(errors, key=lambda error: error.line)
        super().__init__(self.errors)

    def __str__(self) -> str:
        return "\n".join(map(str, self.errors))


class Unreadable(ConfigErrors):
    """The file could not be read at all, whatever is in it; the next time it may be possible."""


class Misread(Exception):
    """Inside this room: one error that ends the reading of a value or a file, before it has been given its path."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(line, sentence)
        self.line = line
        self.sentence = sentence


class Unread(Misread):
    """Inside this room: a file could not be opened, or not read."""
