"""The wire cases: bytes and what the codec makes of them, in plain text; cases/README.md tells how to write one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.reading import Message, What

FOLDER = Path(__file__).parent / "cases"

_ESCAPE = re.compile(rb"\\(?:([rnt0\\])|x([0-9a-fA-F]{2})|(\d+)\*\((.*?)\))", re.DOTALL)
_LETTERS = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


class WireCase(NamedTuple):
    """One case. `verdict` and `kind` as in `Reading`; `body` and `rest` are None where the case does not say."""

    place: str
    name: str
    message: Message
    verdict: str
    kind: str
    body: bytes | None
    rest: bytes | None


class BadCase(Exception):
    """A case that is not written as README.md says; the text names file and line."""


def load_all() -> list[WireCase]:
    """Every case of every file."""
    return [case for path in sorted(FOLDER.glob("*.http")) for case in load(path)]


def load(path: Path) -> Iterator[WireCase]:
    """The cases of one file: blocks with blank lines between them."""
    block: list[str] = []
    for number, line in enumerate([*path.read_text("ascii").splitlines(), ""], 1):
        if line.strip():
            block.append(line)
        elif block:
            yield _case(block, f"{path.name}:{number - len(block)}")
            block = []


def unescape(line: str) -> bytes:
    r"""The bytes of a line: \r \n \t \0 \\ \xHH, and \N*(TEXT) for N times TEXT."""
    return _ESCAPE.sub(_escaped, line.encode("ascii"))


def _escaped(match: re.Match[bytes]) -> bytes:
    letter, code, times, text = match.groups()
    if letter:
        return _LETTERS[letter]
    return bytes([int(code, 16)]) if code else int(times) * unescape(text.decode())


def _case(block: list[str], place: str) -> WireCase:
    lines: dict[str, list[str]] = {"#": [], ">": [], "|": [], "=": []}
    for line in block:
        if line[0] not in lines:
            raise BadCase(f"{place}: a line begins with {line[0]!r}, not with one of # > | =")
        lines[line[0]].append(line[2:])
    if len(lines["#"]) != 1 or len(lines[">"]) != 1 or not lines["="]:
        raise BadCase(f"{place}: a case has one # line, one > line, | lines and = lines")
    verdict, _, kind = lines["="][0].partition(" ")
    extra = dict((line + " ").split(" ", 1) for line in lines["="][1:])
    return WireCase(
        place, lines["#"][0], _message(lines[">"][0], "".join(lines["|"])), verdict, kind,
        _bytes(extra.get("body")), _bytes(extra.get("rest")),
    )  # fmt: skip


def _message(kind: str, data: str) -> Message:
    what, _, method = kind.partition(" to ")
    if what not in ("request", "response"):
        raise BadCase(f"{what!r} is neither request nor response")
    side: What = "request" if what == "request" else "response"
    return Message(side, unescape(data), method.encode() or b"GET")


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else unescape(text.removesuffix(" "))
