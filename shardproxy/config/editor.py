"""The JSON Schema that lets an editor complete and check a configuration while it is written."""

from __future__ import annotations

from typing import Any

from shardproxy.config.matches import PATH_KINDS
from shardproxy.config.plain import plain
from shardproxy.config.schema import Cluster, Config, Match
from shardproxy.config.shapes import (
    Choice,
    Counted,
    Either,
    Flag,
    Group,
    Key,
    Many,
    Maybe,
    Shape,
    Whole,
    Word,
    group_of,
)

_REFERENCE = r"\$\{"  # ${NAME} may stand in place of, or within, every value
_FROM_ENVIRONMENT = {"type": "string", "pattern": _REFERENCE}


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the file; durations and the like are strings with a pattern."""
    definitions: dict[str, Any] = {}
    root = _definition(group_of(Config), definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "shardproxy configuration",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _definition(group: Group, definitions: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "description": group.summary,
        "type": "object",
        "properties": {key.name: _property(key, definitions) for key in group.keys.values()},
        "required": group.required,
        "additionalProperties": False,
    }
    if group.struct is Match:
        schema["oneOf"] = [{"required": [kind]} for kind in PATH_KINDS]
    if group.struct is Cluster:
        schema["oneOf"] = [{"required": [key]} for key in ("endpoints", "endpoints_file", "dns")]
    return schema


def _property(key: Key, definitions: dict[str, Any]) -> dict[str, Any]:
    description = f"{key.description} Without it: {key.otherwise}." if key.otherwise else key.description
    shape = _schema(key.shape, definitions)
    if key.lone:
        shape = {"anyOf": [shape, {"type": "string", "pattern": f"://|{_REFERENCE}"}]}
    schema = {"description": description, **shape}
    if not key.required and key.default not in (None, (), "") and not isinstance(key.shape, Group):
        schema["default"] = plain(key.default, key.shape)
    return schema


def _schema(shape: Shape, definitions: dict[str, Any]) -> dict[str, Any]:
    match shape:
        case Word(form=form):
            return {"type": "string", "pattern": f"{form.pattern}|{_REFERENCE}", "examples": list(form.examples)}
        case Whole() | Choice():
            return {"anyOf": [_exact(shape), _FROM_ENVIRONMENT]}
        case Flag():
            return {"anyOf": [{"type": "boolean"}, _FROM_ENVIRONMENT]}
        case Either(number=number, words=words):
            return {"anyOf": [_exact(number), _exact(words), _FROM_ENVIRONMENT]}
        case Counted(number=number, many=many):
            return {"anyOf": [_exact(number), _schema(many, definitions), _FROM_ENVIRONMENT]}
        case Many(item=item, least=least):
            return {"type": "array", "items": _schema(item, definitions), "minItems": least}
        case Maybe(shape=inner):
            return {"anyOf": [_schema(inner, definitions), {"type": "null"}]}
        case Group():
            return _group(shape, definitions)


def _exact(shape: Whole | Choice) -> dict[str, Any]:
    if isinstance(shape, Choice):
        return {"enum": list(shape.values)}
    bounds = {"minimum": shape.least, "maximum": shape.most}
    return {"type": "integer", **{word: bound for word, bound in bounds.items() if bound is not None}}


def _group(group: Group, definitions: dict[str, Any]) -> dict[str, Any]:
    name = group.struct.__name__
    if name not in definitions:
        definitions[name] = {}
        definitions[name] = _definition(group, definitions)
    there = {"$ref": f"#/$defs/{name}"}
    return {"anyOf": [_schema(group.keys[group.lone].shape, definitions), there]} if group.lone else there
