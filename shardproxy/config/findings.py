"""What is wrong with a configuration, and the questions that all checks ask."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TypeAlias

from shardproxy.config.places import Path
from shardproxy.config.schema import Config, Route
from shardproxy.config.suggest import suggestion

Finding: TypeAlias = tuple[Path, str]


def routes(config: Config) -> Iterator[tuple[Path, Route]]:
    """All routes of all listeners, each with its place in the file."""
    for number, listener in enumerate(config.listeners):
        for index, route in enumerate(listener.routes):
            yield ("listeners", number, "routes", index), route


def twice(section: str, what: str, names: Iterable[str]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in first:
            yield (
                (section, index, "name"),
                f"{section}[{first[name]}] is called {name!r} too; give each {what} its own name",
            )
        first.setdefault(name, index)


def repeated(path: Path, values: Iterable[str], what: str) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value in seen:
            yield (*path, index), f"the {what} {value!r} is in this list twice"
        seen.add(value)


def known(path: Path, name: str, what: str, names: Collection[str]) -> Iterator[Finding]:
    """Nothing is said while a definition is without its name: it may be the one that is meant."""
    if name in names or "" in names:
        return
    hint = suggestion(name, names) or (f"; there is {', '.join(map(repr, names))}" if 0 < len(names) <= 5 else "")
    yield path, f"there is no {what} {name!r}{hint}"
