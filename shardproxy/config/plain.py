"""A configuration as bytes for another process, and as plain data for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from shardproxy.config.schema import Config
from shardproxy.config.shapes import Counted, Group, Many, Maybe, Shape, Word, group_of

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Config)


def encode(config: Config) -> bytes:
    """Every value, defaults included, so that the reader does not depend on its own defaults."""
    return _encoder.encode(config)


def decode(data: bytes) -> Config:
    """The inverse of `encode`.  Raises `msgspec.MsgspecError` (a `ValueError`) for bytes that are none."""
    return _decoder.decode(data)


def to_plain(config: Config) -> dict[str, Any]:
    """As it could stand in a file (`15s`, `64KiB`, `127.0.0.1:80`), with every default written out; fit for JSON."""
    return plain_group(config, group_of(Config))


def plain_group(value: msgspec.Struct, group: Group) -> dict[str, Any]:
    """The keys that have a value, in the schema's order."""
    found = ((key, getattr(value, name)) for name, key in group.keys.items())
    return {key.name: plain(one, key.shape) for key, one in found if one is not None and one != ()}


def plain(value: Any, shape: Shape) -> Any:
    """One value in the form that a user would write."""
    match shape:
        case Group():
            return value if isinstance(value, Mapping) else plain_group(value, shape)
        case Many(item=item):
            return [plain(one, item) for one in value]
        case Counted(many=many):
            return value if isinstance(value, int) else plain(value, many)
        case Maybe(shape=inner):
            return None if value is None else plain(value, inner)
        case Word(form=form):
            return form.write(value)
        case _:
            return value
