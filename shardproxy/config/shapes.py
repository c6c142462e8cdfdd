"""The schema as data: what the reader, `to_plain`, the JSON Schema and the reference walk over.

A struct becomes a `Group` of `Key`s, whose shapes are read off the annotations in `schema.py` once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import msgspec
from msgspec import inspect

from shardproxy.config.forms import Form


@dataclass(frozen=True)
class Word:
    """Text of a form; `least` and `most` bound the value that it stands for."""

    form: Form
    least: int | None = None
    most: int | None = None


@dataclass(frozen=True)
class Whole:
    """A whole number."""

    least: int | None = None
    most: int | None = None


@dataclass(frozen=True)
class Choice:
    """One of a few words; `later` are some that this version does not have yet."""

    values: tuple[str, ...]
    later: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Flag:
    """`true` or `false`."""


@dataclass(frozen=True)
class Many:
    """A list; if written at all, it has at least `least` items."""

    item: Shape
    least: int = 0


@dataclass(frozen=True)
class Maybe:
    """A value that may be left empty."""

    shape: Shape


@dataclass(frozen=True)
class Either:
    """A number or one of a few words."""

    number: Whole
    words: Choice


@dataclass(frozen=True)
class Counted:
    """A list, or a number in its place."""

    number: Whole
    many: Many


@dataclass(frozen=True)
class Group:
    """Keys and values.  `lone` is the key whose value alone may stand for the whole."""

    struct: type[msgspec.Struct]
    keys: Mapping[str, Key]
    lone: str | None
    later: frozenset[str]

    @property
    def summary(self) -> str:
        """The struct's docstring."""
        return (self.struct.__doc__ or "").strip()

    @property
    def required(self) -> list[str]:
        return [key.name for key in self.keys.values() if key.required]


@dataclass(frozen=True)
class Key:
    """`lone` is the key that a single word in this one's place is meant for."""

    name: str
    shape: Shape
    description: str
    required: bool
    default: Any = None
    otherwise: str = ""
    lone: str | None = None


Shape: TypeAlias = Word | Whole | Choice | Flag | Many | Maybe | Either | Counted | Group


@cache
def group_of(struct: type[msgspec.Struct]) -> Group:
    """The shape of a struct of the schema."""
    return _group(inspect.type_info(struct))


def _group(kind: inspect.Type) -> Group:
    assert isinstance(kind, inspect.StructType)
    keys = {field.name: _key(field) for field in kind.fields}
    words: Any = kind.cls
    return Group(kind.cls, keys, words.lone, words.later)


def _key(field: inspect.Field) -> Key:
    assert isinstance(field.type, inspect.Metadata), "every key says what it is for"
    description = (field.type.extra_json_schema or {})["description"]
    otherwise = (field.type.extra or {}).get("otherwise", "")
    default = None if field.required else field.default
    if field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    lone = (field.type.extra or {}).get("lone")
    return Key(field.name, _shape(field.type, {}), description, field.required, default, otherwise, lone)


def _shape(kind: inspect.Type, extra: Mapping[str, Any]) -> Shape:
    match kind:
        case inspect.Metadata():
            return _shape(kind.type, {**extra, **(kind.extra or {})})
        case inspect.StructType(cls=struct):
            return group_of(struct)
        case inspect.VarTupleType(item_type=item):
            return Many(_shape(item, {}), extra.get("least", 0))
        case inspect.UnionType(types=types):
            return _union(types, extra)
        case inspect.BoolType():
            return Flag()
        case inspect.LiteralType(values=values):
            return Choice(tuple(map(str, values)), extra.get("later", frozenset()))
        case inspect.IntType(ge=least, le=most):
            return Word(extra["form"], least, most) if "form" in extra else Whole(least, most)
        case _:
            return Word(extra["form"])


def _union(types: tuple[inspect.Type, ...], extra: Mapping[str, Any]) -> Shape:
    present = [kind for kind in types if not isinstance(kind, inspect.NoneType)]
    shapes = [_shape(kind, extra) for kind in present]
    if len(present) < len(types):
        return Maybe(shapes[0])
    number, other = shapes
    assert isinstance(number, Whole) and isinstance(other, Choice | Many)
    return Either(number, other) if isinstance(other, Choice) else Counted(number, other)
