"""The endpoints that clusters have at run time, as the controller tells the supervisor."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from shardproxy.config.schema import Config, Endpoint
from shardproxy.control.channel import MAX_PACKET_BYTES

Found = Mapping[str, tuple[Endpoint, ...]]

# What is left of a packet beside the rest of the message.
MOST_BYTES = MAX_PACKET_BYTES - 1024

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[str, tuple[Endpoint, ...]])


class TooMany(ValueError):
    """More than one message can hold; `str()` is a plain sentence."""


def encode(found: Found) -> bytes:
    """Raises `TooMany`, which some hundreds of endpoints never are."""
    data = _encoder.encode(found)
    if len(data) > MOST_BYTES:
        count = sum(map(len, found.values()))
        raise TooMany(f"{count} endpoints are more than can be handed on at once ({MOST_BYTES >> 10} KiB of them)")
    return data


def decode(data: bytes) -> dict[str, tuple[Endpoint, ...]]:
    """Raises `msgspec.MsgspecError` (a `ValueError`)."""
    return _decoder.decode(data)


def overlaid(config: Config, found: Found) -> Config:
    """`config` with these endpoints in these clusters; clusters that it does not have are passed over."""
    clusters = (replace(one, endpoints=found[one.name]) if one.name in found else one for one in config.clusters)
    return replace(config, clusters=tuple(clusters))
