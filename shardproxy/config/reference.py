"""`docs/configuration.md`, rendered from the schema.

To write it anew: `python -m shardproxy.config.reference > docs/configuration.md`.
"""

from __future__ import annotations

from collections.abc import Iterator

from shardproxy.config.plain import plain
from shardproxy.config.schema import Config
from shardproxy.config.shapes import Choice, Either, Flag, Group, Key, Many, Maybe, Shape, Whole, Word, group_of

_INTRODUCTION = """\
# Configuration

<!-- Rendered from shardproxy/config/schema.py by `python -m shardproxy.config.reference`; a test compares them. -->

One YAML file. `shardproxy check FILE` says everything that is wrong with it, one `FILE:LINE: PATH: sentence` per line;
`shardproxy schema` prints a JSON Schema for editors. The smallest file:

```yaml
listeners:
  - bind: 127.0.0.1:8080
    routes:
      - {match: {prefix: /}, cluster: app}
clusters:
  - name: app
    endpoints: [127.0.0.1:9001, 127.0.0.1:9002]
```

Values are written with their unit: durations `250ms 15s 5m 1h`, sizes `64KiB 1MiB 512B`, rates `1000/s 20/m 5/h`.
Addresses are `127.0.0.1:8080`, `[::1]:8080` or `unix:/run/app.sock`; host names are not looked up. Where "none" is the
default there is no limit, and an empty value says the same. Every limit counts over all workers together, unless it
says otherwise.

`${NAME}` takes a value from the environment, `${NAME:-default}` with a default for a variable that is not set or is
empty; `$${` stands for `${`. Inside `{ }` and `[ ]` such a value stands in quotes. Keys that are not listed here are
refused, as are anchors, aliases and tags. The file has at most 4 MiB.
"""


def render() -> str:
    """The whole page."""
    sections = [_section(path, group) for path, group in _groups("", group_of(Config))]
    return "\n".join([_INTRODUCTION, *sections])


def _groups(path: str, group: Group) -> Iterator[tuple[str, Group]]:
    """Every group with the path that leads to it, each before what lies in it."""
    yield path, group
    for key in group.keys.values():
        inner, suffix = (key.shape.item, "[]") if isinstance(key.shape, Many) else (key.shape, "")
        if isinstance(inner, Group):
            yield from _groups(f"{path}.{key.name}{suffix}".removeprefix("."), inner)


def _section(path: str, group: Group) -> str:
    title = f"## `{path}`" if path else "## The file"
    summary = group.summary + (f" Written as one word, it is the `{group.lone}`." if group.lone else "")
    head = "| key | value | default | meaning |\n|---|---|---|---|"
    return "\n".join([title, "", summary, "", head, *map(_row, group.keys.values()), ""])


def _row(key: Key) -> str:
    return f"| `{key.name}` | {_value(key.shape)} | {_default(key)} | {key.description} |"


def _value(shape: Shape) -> str:
    match shape:
        case Group():
            return "keys and values, below"
        case Many(item=Group()):
            return "list, below"
        case Many(item=item):
            return f"list: {_value(item)}"
        case Maybe(shape=inner):
            return _value(inner)
        case Either(number=number, words=words):
            return f"{_value(number)}, or {_value(words)}"
        case Choice(values=values):
            return ", ".join(f"`{value}`" for value in values)
        case Flag():
            return "`true` or `false`"
        case Whole():
            return "whole number" + _bounds(shape)
        case Word(form=form):
            return form.word + _bounds(shape)


def _bounds(shape: Word | Whole) -> str:
    least, most = (None if bound is None else plain(bound, shape) for bound in (shape.least, shape.most))
    if least is None:
        return ""
    return f", {least} or more" if most is None or most == 2**31 - 1 else f", {least} to {most}"


def _default(key: Key) -> str:
    if key.required:
        return "**required**"
    if key.otherwise or isinstance(key.shape, Group):
        return key.otherwise
    if isinstance(key.shape, Flag):
        return f"`{key.default}`".lower()
    return f"`{plain(key.default, key.shape)}`" if key.default not in (None, ()) else "none"


if __name__ == "__main__":
    print(render(), end="")
