"""A file into a `Config`: read, composed, built, cross-checked; all that is wrong with it at once."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath

from msgspec.structs import replace

from shardproxy.config import yaml_lines
from shardproxy.config.build import Builder
from shardproxy.config.check import check
from shardproxy.config.errors import ConfigError, ConfigErrors, Misread, Unread, Unreadable
from shardproxy.config.fragments import read_endpoints
from shardproxy.config.places import MAX_ERRORS, Note, Path, Places, TooMany, path_text
from shardproxy.config.schema import Config, Endpoint
from shardproxy.config.shapes import group_of

MAX_FILE_BYTES = 4 << 20


def load(path: str | os.PathLike[str], environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration in the file at `path`.  Raises `ConfigErrors`, and nothing else, with all that is wrong."""
    file = os.fspath(path)
    try:
        text = _text(FilePath(path))
    except Misread as error:
        raise ConfigErrors([ConfigError(file, error.line, "", error.sentence)]) from None
    return with_files(parse(text, file, environ))


def endpoints_in(path: str) -> tuple[Endpoint, ...]:
    """The list in an endpoints file.  Raises `ConfigErrors`; one of them is `Unreadable`."""
    try:
        return read_endpoints(_text(FilePath(path)), path)
    except Unread as error:
        raise Unreadable([ConfigError(path, 0, "", error.sentence)]) from None
    except Misread as error:
        raise ConfigErrors([ConfigError(path, error.line, "", error.sentence)]) from None


def with_files(config: Config) -> Config:
    """With what is in the endpoints files of clusters, those that are there already.  Raises `ConfigErrors`."""
    clusters = (
        replace(one, endpoints=endpoints_in(one.endpoints_file))
        if one.endpoints_file and FilePath(one.endpoints_file).exists()
        else one
        for one in config.clusters
    )
    return replace(config, clusters=tuple(clusters))


def parse(text: str, file: str, environ: Mapping[str, str] = os.environ) -> Config:
    """As `load`, of a text; `file` is what errors call it."""
    try:
        root = yaml_lines.compose(text)
    except Misread as error:
        raise ConfigErrors([ConfigError(file, error.line, "", error.sentence)]) from None
    places = Places()
    try:
        config = with_names(Builder(environ, places).read(root, group_of(Config), ()))
        _cross_check(config, places)
    except TooMany:
        places.errors[-1] = Note((), places.errors[-1].line, f"more than {MAX_ERRORS} errors; the rest is not shown")
    if places.errors:
        raise ConfigErrors(_error(file, note) for note in places.errors)
    return config


def with_names(config: Config) -> Config:
    """Listeners without a name are called by their address."""
    named = (one if one.name else replace(one, name=str(one.bind)) for one in config.listeners)
    return replace(config, listeners=tuple(named))


def _cross_check(config: Config, places: Places) -> None:
    """Note what `check` finds, except where a value is wrong anyhow: there it saw only something blank."""
    broken = {note.path for note in places.errors}
    holders = {holder for path in broken for holder in _holders(path)}
    for path, sentence in check(config):
        if path not in holders and broken.isdisjoint(_holders(path)):
            places.note(path, sentence)


def _holders(path: Path) -> Iterator[Path]:
    """The path itself and all that it lies in."""
    return (path[:length] for length in range(len(path) + 1))


def _error(file: str, note: Note) -> ConfigError:
    return ConfigError(file, note.line, path_text(note.path) or "(file)", note.sentence)


def _text(path: FilePath) -> str:
    data = _bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Misread(line, f"the byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8") from None


def _bytes(path: FilePath) -> bytes:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Misread(0, "this is not a file that can be read as a configuration")
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Unread(0, f"the file cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise Misread(0, "this is not the name of a file") from None
    if len(data) > MAX_FILE_BYTES:
        raise Misread(0, f"the file is larger than {MAX_FILE_BYTES >> 20} MiB")
    return data


def _without_waiting(path: str, flags: int) -> int:
    """Opening a named pipe would wait for somebody to write to it."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
