"""YAML as a tree in which every key and every value knows its line.

Built from the parser's events, so that what the file need not have is refused where it stands: anchors and aliases
(with which a small file can grow without bound), tags, several documents, depth. Scalars stay text: the schema, not
YAML 1.1, says whether `yes` or `1:30` is a word or something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import yaml

from shardproxy.config.errors import Misread

MAX_DEPTH = 32  # the schema needs 7

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ODD_BREAK = re.compile("[\x85\u2028\u2029]")
_EMPTY = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class Scalar:
    """Text as it stands; `quoted` texts are never taken for emptiness."""

    line: int
    text: str
    quoted: bool = False

    @property
    def is_empty(self) -> bool:
        return not self.quoted and self.text in _EMPTY


@dataclass(frozen=True, slots=True)
class Sequence:
    line: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys and values in order; a key may be there twice."""

    line: int
    pairs: tuple[tuple[Scalar, Node], ...]


Node: TypeAlias = Scalar | Sequence | Mapping


def compose(text: str) -> Node:
    """The one document in `text`, or an empty scalar if there is none.  Raises `Misread`."""
    if odd := _ODD_BREAK.search(text):
        line = text.count("\n", 0, odd.start()) + 1
        raise Misread(line, f"the character U+{ord(odd[0]):04X} ends a line for YAML but not for editors; leave it out")
    try:
        return _document(yaml.parse(text, Loader=_LOADER))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Misread(
            line, "a control character cannot stand in YAML; write it as an escape in double quotes"
        ) from None
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text) from None


def _document(events: Iterator[yaml.Event]) -> Node:
    next(events)  # the stream's start
    root: Node = Scalar(1, "")
    if isinstance(next(events), yaml.DocumentStartEvent):
        root = _Composer(events).node(next(events), 0)
        next(events)  # the document's end
        after = next(events)
        if isinstance(after, yaml.DocumentStartEvent):
            raise Misread(_line(after), "a second document begins here; the file holds one")
    return root


class _Composer:
    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self._events = events

    def node(self, event: yaml.Event, depth: int) -> Node:
        _refuse_extras(event)
        if depth > MAX_DEPTH:
            raise Misread(_line(event), f"lists and keys are nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(_line(event), event.value, quoted=bool(event.style))
        if isinstance(event, yaml.SequenceStartEvent):
            return Sequence(_line(event), tuple(self._items(depth + 1)))
        return Mapping(_line(event), tuple(self._pairs(depth + 1)))

    def _items(self, depth: int) -> Iterator[Node]:
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self.node(event, depth)

    def _pairs(self, depth: int) -> Iterator[tuple[Scalar, Node]]:
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self.node(event, depth)
            if not isinstance(key, Scalar):
                raise Misread(
                    key.line, "a key must be a word, not a list or a mapping (a value with braces needs quotes)"
                )
            yield key, self.node(next(self._events), depth)


def _refuse_extras(event: yaml.Event) -> None:
    """Anchors, aliases and tags: nothing here needs them."""
    anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
    if isinstance(event, yaml.AliasEvent):
        raise Misread(_line(event), f"the alias '*{anchor}' is not supported; write the value out")
    if anchor:
        raise Misread(_line(event), f"the anchor '&{anchor}' is not supported; write the value out where it is used")
    if tag and tag != "!":
        raise Misread(_line(event), f"the tag {tag!r} is not supported; leave it out")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _syntax_error(error: yaml.MarkedYAMLError, text: str) -> Misread:
    mark = error.problem_mark or error.context_mark
    lines = text.splitlines() or [""]
    line = min(mark.line + 1, len(lines)) if mark else 1  # the end of the file is beyond its last line
    written = lines[line - 1]
    if "\t" in written[: len(written) - len(written.lstrip())]:
        return Misread(line, "this is not YAML: the line is indented with a tab; use spaces")
    hint = '; inside { } and [ ] write "${NAME}" in quotes' if "${" in written else ""
    context = f" {error.context}" if error.context else ""
    return Misread(line, f"this is not YAML: {error.problem or 'it cannot be read'}{context}{hint}")
