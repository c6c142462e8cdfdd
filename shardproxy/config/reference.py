"""`docs/configuration.md`, rendered from the schema.

To write it anew: `python -m shardproxy.config.reference > docs/configuration.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from shardproxy.config.plain import plain
from shardproxy.config.schema import Config
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

_INTRODUCTION = """\
# Configuration

<!-- Rendered from shardproxy/config/schema.py by `python -m shardproxy.config.reference`; a test compares them. -->

shardproxy reads one YAML file: listeners, whose routes say which cluster answers a request, and clusters, which are the
servers behind the proxy. The smallest file (`configs/minimal.yaml`):

```yaml
listeners:
  - bind: 127.0.0.1:8080
    routes:
      - {match: {prefix: /}, cluster: app}
clusters:
  - name: app
    endpoints: [127.0.0.1:9001, 127.0.0.1:9002]
```

A larger one (`configs/example.yaml`); `configs/full.yaml` has every key there is:

```yaml
# One listener in front of three origins on this machine, with a limit on one route and a host on another.
# Start it with: shardproxy run configs/example.yaml

workers: auto                          # one per CPU this process may run on; or a number
admin: {bind: 127.0.0.1:9901}
drain_timeout: 30s                     # how long a stop waits for requests that run

listeners:
  - name: web
    bind: 127.0.0.1:8080
    max_connections: 20000             # over all workers together, as every limit here
    max_body: 100MiB
    timeouts: {request_head: 10s, request_body: 60s, idle: 60s}
    routes:                            # the most specific host, then the first match in order
      - match: {hosts: [api.example.com], prefix: /v1/}
        cluster: origins
        timeout: 5s
      - match: {prefix: /limited}
        cluster: origins
        rate_limits: [whole-api]
      - match: {prefix: /}
        cluster: origins

clusters:
  - name: origins
    balance: least_connection          # counted over all workers together
    endpoints:
      - 127.0.0.1:9001
      - 127.0.0.1:9002
      - {address: 127.0.0.1:9003, weight: 1}
    connect_timeout: 1s

rate_limits:
  - {name: whole-api, rate: 500/s, burst: 100}    # one bucket over all workers
```

`shardproxy check FILE` gives all that is wrong with a file at once, one line each, and exits with 0 or 2:

    proxy.yaml:4: listeners[0].routes[0].cluster: there is no cluster 'ap'; did you mean 'app'?

`shardproxy schema` prints a JSON Schema, with which an editor completes and checks while you write.

Keys that are not listed here are refused, and so are keys that are there twice, anchors, aliases and tags. A default of
"none" means no limit or nothing at all, and an empty value says the same. Every limit counts over all workers together,
unless its row says otherwise. A file has at most 4 MiB.

`${NAME}` takes a value from the environment, `${NAME:-default}` has a default for a variable that is not set or empty,
and `$${` stands for `${`. Inside `{ }` and `[ ]`, put such a value in quotes.

## Forms

| form | how it is written |
|---|---|
| duration | a number with `ms`, `s`, `m` or `h`: `250ms`, `15s`, `1.5m`; at most a year |
| size | a number with `B`, `KiB`, `MiB`, `GiB` (powers of 1024) or `kB`, `MB`, `GB` (powers of 1000): `64KiB` |
| rate | a number per `s`, `m` or `h`: `1000/s`, `20/m`, `5/h` |
| bandwidth | a size per second: `1MiB/s`, `256KiB/s`; bytes, not bits |
| address | `127.0.0.1:8080`, `[::1]:8080` or `unix:/run/app.sock`; host names are not looked up |
| name | up to 64 letters, digits, `_`, `.` and `-`, a letter or digit first |
| host | `api.example.com`, without a port; `*.example.com`: all that end so; `api.*`: all that begin so |
| path | as it stands in a request: begins with `/`, percent-encoded, without a query |
| template | a path in which `{name}` stands for any one segment: `/users/{id}/posts` |
| pattern | a regular expression in the syntax of RE2, in quotes where it has braces: `/v[0-9]+/.*` |
| share | percent, to 0.0001: `5%`, `0.5%` |
| protocol | one word of the `Upgrade` field, such as `websocket`; `h2c` is refused |
| network | addresses in CIDR notation: `10.0.0.0/8`, `2001:db8::/32`; an address alone stands for itself |
| user | a user, or a user and a group: `proxy`, `proxy:www-data` |
| file | the full path of a file: `/run/shardproxy.pid` |
| statuses | a status of a response, or a range of them: `200`, `200-299` |
| store | `redis://HOST:PORT` or `redis://HOST:PORT/DATABASE`; the host is a name or an address |
| text | printable, at most 1024 characters |
| token | one word of letters, digits, `-`, `.` and `_` |
| label | a name and what it says, such as `version=v2`: letters, digits, `-`, `.`, `_` and `/` on both sides of `=` |
"""


def render() -> str:
    """The whole page."""
    sections = [_section(path, group) for path, group in _groups("", group_of(Config))]
    return "\n".join([_INTRODUCTION, *sections])


def _groups(path: str, group: Group) -> Iterator[tuple[str, Group]]:
    """Every group with the path that leads to it, each before what lies in it."""
    yield path, group
    for key in group.keys.values():
        if inner := _inner(path, key):
            yield from _groups(*inner)


def _inner(path: str, key: Key) -> tuple[str, Group] | None:
    """The group below a key, and the path that leads to it."""
    shape, suffix = key.shape, ""
    if isinstance(shape, Many):
        shape, suffix = shape.item, "[]"
    elif isinstance(shape, Maybe):
        shape = shape.shape
    return (f"{path}.{key.name}{suffix}".removeprefix("."), shape) if isinstance(shape, Group) else None


def _section(path: str, group: Group) -> str:
    title = f"## `{path}`" if path else "## Top level"
    head = "| key | form | default | meaning |\n|---|---|---|---|"
    rows = (_row(path, key) for key in group.keys.values())
    return "\n".join([title, "", group.summary, "", head, *rows, ""])


def _row(path: str, key: Key) -> str:
    name = f"`{key.name}`"
    if inner := _inner(path, key):
        name = f"[{name}](#{_anchor(inner[0])})"
    return f"| {name} | {_value(key.shape)} | {_default(key)} | {key.description} |"


def _anchor(path: str) -> str:
    """What a renderer makes of a section's title: only its word characters are left."""
    return re.sub(r"\W", "", path)


def _value(shape: Shape) -> str:
    match shape:
        case Group():
            return "keys and values"
        case Many(item=Group()):
            return "list"
        case Many(item=item):
            return f"list: {_value(item)}"
        case Maybe(shape=inner):
            return _value(inner)
        case Either(number=number, words=words):
            return f"{_value(number)}, or {_value(words)}"
        case Counted(number=number, many=many):
            return f"{_value(number)}, or {_value(many)}"
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
        return key.otherwise or "its defaults"
    if isinstance(key.shape, Flag):
        return f"`{key.default}`".lower()
    return f"`{plain(key.default, key.shape)}`" if key.default not in (None, ()) else "none"


if __name__ == "__main__":
    print(render(), end="")
