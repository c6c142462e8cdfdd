"""Endpoints that stand by themselves, in JSON or YAML: what the admin interface is sent, and endpoints files."""

from __future__ import annotations

import os

from msgspec import structs

from shardproxy.config import yaml_lines
from shardproxy.config.build import Builder
from shardproxy.config.clusters import Endpoint
from shardproxy.config.errors import ConfigError, ConfigErrors, Misread
from shardproxy.config.findings import repeated
from shardproxy.config.places import Note, Places, TooMany, path_text
from shardproxy.config.shapes import Many, group_of
from shardproxy.config.yaml_lines import Mapping, Node, Scalar

Endpoints = tuple[Endpoint, ...]


class Wrong(ValueError):
    """The text is none of what it should be; `str()` is a plain sentence."""


def read_endpoint(text: str) -> Endpoint:
    """One endpoint: an address, or keys and values.  Raises `Wrong`."""
    node, places = _compose(text), Places()
    endpoint: Endpoint = Builder({}, places).read(node, group_of(Endpoint), ())
    _see_that_all_is_right(places)
    return endpoint


def with_keys(endpoint: Endpoint, text: str) -> Endpoint:
    """`endpoint` with the keys of `text` in place of its own.  Raises `Wrong`."""
    node, places = _compose(text), Places()
    if not isinstance(node, Mapping):
        raise Wrong(f'this needs keys and values, such as {{"weight": 2}}; known: {", ".join(group_of(Endpoint).keys)}')
    if any(key.text == "address" for key, _ in node.pairs):
        raise Wrong("the address of an endpoint cannot be changed; add another endpoint and remove this one")
    whole = Mapping(node.line, ((Scalar(1, "address"), Scalar(1, str(endpoint.address))), *node.pairs))
    read: Endpoint = Builder({}, places).read(whole, group_of(Endpoint), ())
    _see_that_all_is_right(places)
    return structs.replace(endpoint, **{key.text: getattr(read, key.text) for key, _ in node.pairs})


def read_endpoints(text: str, file: str) -> Endpoints:
    """A list of endpoints, perhaps an empty one; `file` is what errors call it.  Raises `ConfigErrors`."""
    places = Places()
    try:
        endpoints: Endpoints = Builder(os.environ, places).read(yaml_lines.compose(text), Many(group_of(Endpoint)), ())
        for path, sentence in repeated((), [str(each.address) for each in endpoints], "endpoint"):
            places.note(path, sentence)
    except Misread as error:
        raise ConfigErrors([ConfigError(file, error.line, "", error.sentence)]) from None
    except TooMany:
        pass  # those that were noted are enough
    if places.errors:
        raise ConfigErrors(ConfigError(file, note.line, path_text(note.path), note.sentence) for note in places.errors)
    return endpoints


def _compose(text: str) -> Node:
    try:
        return yaml_lines.compose(text)
    except Misread as error:
        raise Wrong(f"line {error.line}: {error.sentence}") from None


def _see_that_all_is_right(places: Places) -> None:
    if places.errors:
        raise Wrong("; ".join(_sentence(note) for note in places.errors[:3]))


def _sentence(note: Note) -> str:
    where = path_text(note.path)
    return f"{where}: {note.sentence}" if where else note.sentence
