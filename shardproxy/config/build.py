"""A tree of YAML into the structs of the schema; whatever is wrong is noted, and the reading goes on behind it."""

from __future__ import annotations

import re
from collections.abc import Mapping as Environment
from dataclasses import dataclass, field
from typing import Any

from shardproxy.config import environment
from shardproxy.config.errors import Misread
from shardproxy.config.forms import Form
from shardproxy.config.places import Path, Places
from shardproxy.config.shapes import Choice, Counted, Either, Flag, Group, Key, Many, Maybe, Shape, Whole, Word
from shardproxy.config.suggest import one_of, quote, suggestion
from shardproxy.config.units import Address
from shardproxy.config.yaml_lines import Mapping, Node, Scalar, Sequence

MAX_TEXT = 4096  # characters of one value
_NUMBER = re.compile(r"0|-?[1-9][0-9]*")  # YAML 1.1 would take 010 for 8 and 1_0 for 10; better to ask
_MAX_DIGITS = 18  # of a number that an error sentence repeats


@dataclass
class Builder:
    """Reads nodes as shapes.

    A value that is wrong is noted in `places` and replaced by its default, or by something blank of its type, so that
    the rest can still be read and cross-checked; whoever finds an error noted throws the result away.
    """

    environ: Environment[str, str]
    places: Places = field(default_factory=Places)

    def read(self, node: Node, shape: Shape, path: Path) -> Any:
        """The value, or a blank one after noting what is wrong with it."""
        self.places.lines[path] = node.line
        try:
            return self._value(node, shape, path)
        except Misread as error:
            self.places.note(path, error.sentence, line=error.line)
            return blank(shape)

    def _value(self, node: Node, shape: Shape, path: Path) -> Any:
        match shape:
            case Group():
                return self._group(node, shape, path)
            case Many():
                return self._list(node, shape, path)
            case Maybe():
                return self._maybe(node, shape, path)
            case Counted(number=number, many=many):
                return self._scalar(node, number) if isinstance(node, Scalar) else self._list(node, many, path)
            case _:
                return self._scalar(node, shape)

    def _group(self, node: Node, group: Group, path: Path) -> Any:
        if group.lone and isinstance(node, Scalar):
            value = self._value(node, group.keys[group.lone].shape, path)
            return group.struct(**{group.lone: value})
        if not isinstance(node, Mapping):
            raise Misread(node.line, f"{_found(node)}; this needs keys and values ({', '.join(group.keys)})")
        values = self._values(node, group, path)
        for key in group.required:
            if key not in values:
                self.places.note((*path, key), "is missing", line=node.line)
                values[key] = blank(group.keys[key].shape)
        return group.struct(**values)

    def _values(self, node: Mapping, group: Group, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        first: dict[str, int] = {}
        for word, value in node.pairs:
            if (name := word.text) in first:
                self.places.note((*path, name), f"is there twice, first in line {first[name]}", line=word.line)
            elif name in group.keys:
                key = _meant(group.keys[name], value, group)
                values[key.name] = self._field(value, key, path)
            else:
                self.places.note((*path, name), _unknown(name, group), line=word.line)
            first.setdefault(name, word.line)
        return values

    def _field(self, node: Node, key: Key, path: Path) -> Any:
        before = len(self.places.errors)
        value = self.read(node, key.shape, (*path, key.name))
        broken = len(self.places.errors) > before and not isinstance(key.shape, Group | Many)
        return key.default if broken and not key.required else value

    def _list(self, node: Node, many: Many, path: Path) -> tuple[Any, ...]:
        if not isinstance(node, Sequence):
            raise Misread(node.line, f"{_found(node)}; this needs a list, each item behind '- ' or all in [ ]")
        if len(node.items) < many.least:
            raise Misread(node.line, "the list is empty; it needs at least one item")
        return tuple(self.read(item, many.item, (*path, index)) for index, item in enumerate(node.items))

    def _maybe(self, node: Node, maybe: Maybe, path: Path) -> Any:
        if isinstance(node, Scalar) and self._expanded(node).is_empty:
            return None
        return self._value(node, maybe.shape, path)

    def _scalar(self, node: Node, shape: Word | Whole | Choice | Flag | Either) -> Any:
        if not isinstance(node, Scalar):
            raise Misread(node.line, f"{_found(node)}; this needs {_wanted(shape)}")
        scalar = self._expanded(node)
        if scalar.is_empty:
            raise Misread(node.line, f"{_found(scalar)}; this needs {_wanted(shape)}")
        try:
            return read_text(scalar.text, shape)
        except ValueError as error:
            raise Misread(node.line, str(error)) from None

    def _expanded(self, node: Scalar) -> Scalar:
        try:
            text = environment.expand(node.text, self.environ)
        except ValueError as error:
            raise Misread(node.line, str(error)) from None
        if len(text) > MAX_TEXT:
            raise Misread(node.line, f"a value has at most {MAX_TEXT} characters, this one has {len(text)}")
        return Scalar(node.line, text, node.quoted)


def read_text(text: str, shape: Word | Whole | Choice | Flag | Either) -> Any:
    """What `text` stands for.  Raises `ValueError` with a plain sentence."""
    match shape:
        case Word(form=form):
            value = form.parse(text)
            _bound(value, shape, form)
            return value
        case Whole():
            return _whole(text, shape)
        case Choice():
            return _choice(text, shape)
        case Flag():
            return _flag(text)
        case Either(number=number, words=words):
            return _whole(text, number, words) if text not in words.values else text


def blank(shape: Shape) -> Any:
    """Something of the shape's type that stands for no value anybody would write."""
    match shape:
        case Group(struct=struct, keys=keys, required=required):
            return struct(**{name: blank(keys[name].shape) for name in required})
        case Many(item=item):
            return (blank(item),)
        case Maybe():
            return None
        case Word(form=Form(word="address")):
            return Address()
        case Word(form=Form(word="duration" | "size" | "rate" | "bandwidth")) | Whole() | Either():
            return 0
        case Flag():
            return False
        case _:
            return ""


def _bound(value: Any, shape: Word | Whole, form: Form | None = None) -> None:
    write = form.write if form else str
    if shape.least is not None and value < shape.least:
        raise ValueError(f"must be at least {write(shape.least)}, not {write(value)}")
    if shape.most is not None and value > shape.most:
        raise ValueError(f"must be at most {write(shape.most)}, not {write(value)}")


def _whole(text: str, shape: Whole, words: Choice | None = None) -> int:
    if not _NUMBER.fullmatch(text):
        wanted = f"a whole number or {one_of(words.values)}" if words else "a whole number"
        raise ValueError(f"{quote(text)} is not {wanted}")
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"{quote(text)} is out of all proportion")
    value = int(text)
    _bound(value, shape)
    return value


def _choice(text: str, shape: Choice) -> str:
    if text in shape.values:
        return text
    if text in shape.later:
        raise ValueError(f"{text!r} is not supported by this version; write {one_of(shape.values)}")
    hint = suggestion(text, shape.values)
    raise ValueError(f"{quote(text)} is not {one_of(shape.values)}{hint}")


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{quote(text)} is not true or false")
    return text == "true"


def _meant(key: Key, value: Node, group: Group) -> Key:
    """Another key, if a single word is written where that one's stands for it."""
    return group.keys[key.lone] if key.lone and isinstance(value, Scalar) and "://" in value.text else key


def _unknown(name: str, group: Group) -> str:
    if name in group.later:
        return "is not supported by this version; leave it out"
    hint = suggestion(name, group.keys) or f"; known here: {', '.join(group.keys)}"
    return f"there is no such key{hint}"


def _found(node: Node) -> str:
    match node:
        case Sequence():
            return "found a list"
        case Mapping():
            return "found keys and values"
        case Scalar() if node.is_empty:
            return "is empty"
        case Scalar(text=text):
            return f"found the word {quote(text)}"


def _wanted(shape: Word | Whole | Choice | Flag | Either) -> str:
    match shape:
        case Word(form=form):
            return f"{form.noun} such as {form.examples[0]}"
        case Whole():
            return "a whole number"
        case Choice(values=values):
            return one_of(values)
        case Flag():
            return "true or false"
        case Either(words=words):
            return f"a whole number or {one_of(words.values)}"
