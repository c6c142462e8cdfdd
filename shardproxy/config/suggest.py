"""Phrases of error sentences: what was written, what there is, and what was probably meant."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches

_MAX_QUOTED = 80
_MAX_CANDIDATES = 500  # beyond, looking for the nearest costs more than it helps


def quote(text: str) -> str:
    """The text in quotes, cut if it is long, on one line whatever it holds."""
    return repr(text) if len(text) <= _MAX_QUOTED else f"{text[:_MAX_QUOTED]!r}..."


def one_of(values: Sequence[str]) -> str:
    """`a, b or c`."""
    *first, last = values
    return f"{', '.join(first)} or {last}" if first else last


def suggestion(text: str, known: Collection[str]) -> str:
    """`; did you mean 'cluster'?`, or nothing if nothing known is near."""
    if len(text) > _MAX_QUOTED or len(known) > _MAX_CANDIDATES:
        return ""
    near = get_close_matches(text, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
