"""Functions marked `# hot` stay C, as Cython's annotation (the yellow lines of `cython -a`) tells.

The mark stands above a function or behind its first line.  Without the GIL a line's score must be 0.  With it no line
may call into the interpreter; moving references and reading the sizes of builtin objects score too, though they cost a
few instructions, so their lines are only counted, and their number may not grow (`ALLOWED`).  `# warm: reason` behind a
line lets it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path

import pytest

from tests.translated import HOT, PATIENCE_S, ROOT, SAMPLE, lines_of, modules_with_hot_functions, package_files

pytestmark = pytest.mark.timeout(PATIENCE_S)

WARM = re.compile(r"#\s*warm:\s*\S")
FUNCTION = re.compile(r"(\s*)(?:cdef|cpdef|def)\b.*")
ANNOTATED_LINE = re.compile(
    r'<pre class="cython line score-(\d+)"[^>]*>.*?<span class="">(\d+)</span>.*?</pre>'
    r"\s*(?:<pre class='cython code[^>]*>(.*?)</pre>)?",
    re.S,
)
CALL = re.compile(r"<span class='pyx?_c_api'>(\w+)</span>")
FREE = re.compile(  # macros, and calls on the way of an error only
    r"PyErr_\w+|__Pyx_AddTraceback|__Pyx_WriteUnraisable|__Pyx_TypeTest"
    r"|__Pyx_Py(?:Bytes|ByteArray|Tuple|List)_(?:GET_SIZE|GET_ITEM|AsString)"
)


@dataclass(frozen=True)
class Function:
    """`body` are line numbers from 1; the lines of the signature are not among them."""

    name: str
    first: int
    body: range
    has_gil: bool


@dataclass(frozen=True)
class HotLine:
    """`code` is the C that Cython made of it, as HTML."""

    number: int
    text: str
    function: Function
    score: int
    code: str

    def __str__(self) -> str:
        return f"{self.number}: {self.text}"

    def costs(self) -> list[str]:
        """What it calls that is not free, or its score where there must be none."""
        if not self.function.has_gil:
            return [f"score {self.score}"] if self.score else []
        return sorted({call for call in CALL.findall(unescape(self.code)) if not FREE.fullmatch(call)})


def hot_functions(lines: Sequence[str]) -> Iterator[Function]:
    for number, line in enumerate(lines, start=1):
        if HOT.search(line):
            first = number if FUNCTION.match(line) else number + 1
            while first <= len(lines) and lines[first - 1].lstrip().startswith("@"):
                first += 1
            yield function_at(lines, first)


def function_at(lines: Sequence[str], first: int) -> Function:
    match = FUNCTION.match(lines[first - 1]) if first <= len(lines) else None
    assert match, f"line {first - 1} says `# hot`, but no function follows"
    last = next(at for at in range(first, len(lines) + 1) if without_remark(lines[at - 1]).endswith(":"))
    signature = " ".join(without_remark(line).strip() for line in lines[first - 1 : last])
    inside = takewhile(lambda line: not line.strip() or indent(line) > len(match[1]), lines[last:])
    return Function(signature, first, range(last + 1, last + 1 + len(list(inside))), " nogil" not in signature)


def without_remark(line: str) -> str:
    return line.partition("#")[0].rstrip()


def indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def hot_lines(module: Path) -> Iterator[HotLine]:
    """The lines of an annotated module's hot functions that have no excuse."""
    lines = lines_of(module)
    html = module.with_suffix(".html").read_text(encoding="utf-8")
    annotated = {int(number): (int(score), code) for score, number, code in ANNOTATED_LINE.findall(html)}
    assert len(annotated) == len(lines), "the annotation does not look as expected"
    for function in hot_functions(lines):
        for number in function.body:
            if not WARM.search(lines[number - 1]):
                yield HotLine(number, lines[number - 1].strip(), function, *annotated[number])


def calling(module: Path) -> list[str]:
    """`LINE: its text (what it calls)` for each hot line that is not C."""
    return [f"{line} ({', '.join(costs)})" for line in hot_lines(module) if (costs := line.costs())]


def yellow(module: Path) -> list[str]:
    """`LINE: its text` for each hot line with a score, references only included."""
    return [str(line) for line in hot_lines(module) if line.score]


REVIEWED_WITH = "3.3."
ALLOWED = {  # yellow lines in hot functions, by Cython 3.3; to be lowered whenever one goes
    # reading the limits off a tuple, with its test for None
    "shardproxy/limits/rates.pyx": 5,
    # the exchange that is described, its parts, and their names
    "shardproxy/proxy/access.pyx": 6,
    # the source kept while its offsets are in use
    "shardproxy/http1/fields.pyx": 1,
    # PyBytes macros: an address and a length, no call
    "shardproxy/http1/head.pyx": 4,
    # who is who: exchange, ends, input and the list of idle connections change hands
    "shardproxy/proxy/connection.pyx": 5,
    "shardproxy/proxy/downstream.pyx": 29,
    "shardproxy/proxy/finding.pyx": 4,
    "shardproxy/routing/conditions.pyx": 1,
    "shardproxy/proxy/admission.pyx": 4,
    "shardproxy/proxy/exchange.pyx": 19,
    # PyBytes macros, as in head.pyx
    "shardproxy/proxy/introduction.pyx": 4,
    "shardproxy/proxy/pool.pyx": 13,
    # a PyBytes macro, as in head.pyx
    "shardproxy/proxy/streams.pyx": 1,
    "shardproxy/proxy/upstream.pyx": 14,
}


SAMPLE_CALL = "25: self.owner.first()"
SAMPLE_EMPTY_REASON = "27: self.owner.third()  # warm:"


@pytest.mark.parametrize("module", modules_with_hot_functions(), ids=str)
def test_hot_functions_stay_c(annotated: Path, module: Path) -> None:
    found = calling(annotated / module)
    assert not found, "\n".join([f"calls into the interpreter in hot functions of {module}:", *found])


@pytest.mark.skipif(not version("Cython").startswith(REVIEWED_WITH), reason="scores differ between Cython's versions")
@pytest.mark.parametrize("module", modules_with_hot_functions(), ids=str)
def test_hot_functions_move_no_more_references_than_reviewed(annotated: Path, module: Path) -> None:
    found, allowed = yellow(annotated / module), ALLOWED.get(str(module), 0)
    assert len(found) <= allowed, "\n".join([f"{len(found)} yellow lines, {allowed} allowed, in {module}:", *found])


def test_only_modules_with_hot_functions_are_allowed_yellow_lines() -> None:
    assert ALLOWED.keys() <= set(map(str, modules_with_hot_functions()))


def test_a_hot_function_that_calls_into_the_interpreter_is_found(annotated: Path) -> None:
    found = calling(annotated / SAMPLE)
    assert [line.partition(" (")[0] for line in found] == [SAMPLE_CALL, SAMPLE_EMPTY_REASON]


def test_lines_that_only_move_references_are_counted_but_not_those_of_other_functions(annotated: Path) -> None:
    found = yellow(annotated / SAMPLE)
    assert found[:2] == ["12: self.data = data", "13: return len(data)"]
    assert {SAMPLE_CALL, SAMPLE_EMPTY_REASON} < set(found)
    assert all(int(line.partition(":")[0]) in {12, 13, 25, 27, 28} for line in found)


def test_no_declaration_file_has_a_hot_mark_which_nobody_would_read() -> None:
    declarations = [path for path in package_files() if path.suffix == ".pxd"]
    assert [path for path in declarations if any(map(HOT.search, lines_of(ROOT / path)))] == []


def test_a_mark_without_a_function_is_an_error() -> None:
    with pytest.raises(AssertionError, match="line 1 says `# hot`"):
        list(hot_functions(["# hot", "x = 1"]))
