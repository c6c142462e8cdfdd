"""`${NAME}` and `${NAME:-default}` in a value, from the environment; `$${` stands for `${`."""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^{}]*)?\})?")


def expand(text: str, environ: Mapping[str, str]) -> str:
    """`text` with its references replaced.

    As in a shell, the default also stands for a variable that is set but empty. What a variable holds is not expanded
    again. Raises `ValueError` with a plain sentence for a variable that is not set, has no default, or is not text.
    """
    return _REFERENCE.sub(lambda found: _value(found, environ), text) if "${" in text else text


def _value(found: re.Match[str], environ: Mapping[str, str]) -> str:
    if found[0] == "$${":
        return "${"
    name, default = found["name"], found["default"]
    if name is None:
        raise ValueError("'${' does not begin ${NAME} or ${NAME:-default}; write '$${' if it is meant as it stands")
    value = environ.get(name, "")
    if default is not None and not value:
        return str(default[2:])
    if name not in environ:
        raise ValueError(f"the environment variable {name} is not set; set it or write ${{{name}:-default}}")
    if not value.isprintable():
        raise ValueError(f"the environment variable {name} holds characters that are not printable text")
    return value
