"""Only an exchange's own methods change its fields: what it is in the middle of stands in one file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardproxy import proxy

ROOM = Path(proxy.__file__).parent
FIELD = re.compile(r"^    cdef (?!\w+ \w+\()[\w\[\], ]+?(\w+(?:, \w+)*)(?:\s+#.*)?$", re.MULTILINE)
EXCHANGES = re.compile(r"\bExchange (\w+)")


def fields() -> set[str]:
    body = (ROOM / "exchange.pxd").read_text().partition("cdef class Exchange:")[2]
    return {name.strip() for names in FIELD.findall(body) for name in names.split(",")}


def assignments(text: str) -> Iterator[str]:
    """Lines in which something typed `Exchange`, or an attribute `exchange`, gets another value of a field."""
    names = {*EXCHANGES.findall(text), r"\w+\.exchange", r"self\.first", r"self\.second"}
    target = rf"(?:\(<Exchange>\w+(?:\.\w+)?\)|\b(?:{'|'.join(sorted(names))}))\.(?:{'|'.join(sorted(fields()))})"
    change = re.compile(rf"^\s*(?:.*,\s*)?{target}(?:,[^=]*)?\s*[-+*/|&]?=(?!=)")
    return (line.strip() for line in text.splitlines() if change.match(line))


def test_the_fields_are_found() -> None:
    assert {"state", "client", "origin", "endpoint", "download", "upload", "sent_ns", "hash_key"} <= fields()


@pytest.mark.parametrize(
    "line",
    ["    exchange.endpoint = 1", "    first.origin, first.endpoint = None, -1", "    self.exchange.sent_ns += waited"],
)
def test_an_assignment_is_found(line: str) -> None:
    assert list(assignments(f"cdef Exchange exchange, first\ncdef Exchange first\n{line}\n"))


@pytest.mark.parametrize("module", sorted(ROOM.glob("*.pyx")), ids=lambda module: module.stem)
def test_no_other_file_changes_them(module: Path) -> None:
    if module.stem != "exchange":
        assert list(assignments(module.read_text())) == []
