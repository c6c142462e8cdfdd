"""What holds for every source file: lint, length, names, and hot functions that do not call into the interpreter."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from itertools import takewhile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("shardproxy", "supervisor", "tests", "loadtests")
SUFFIXES = (".py", ".pyi", ".pyx", ".pxd")
LONGEST = 400  # lines; HOUSE.md: the most loved projects have almost no file above it
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common"}
PROCESSES = 2


def sources() -> list[Path]:
    """Relative to the root; the supervisor's only by its own folder (`rglob` does not follow the link).

    The conformance runner is kept as it came.
    """
    found = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES)
    others = {ROOT / "shardproxy" / "supervisor", ROOT / "tests" / "conformance"}
    return sorted(path.relative_to(ROOT) for path in found if not others & set(path.parents))


def lines_of(path: Path) -> list[str]:
    return (ROOT / path).read_text(encoding="utf-8").splitlines()


def test_ruff_finds_nothing() -> None:
    command = [sys.executable, "-m", "ruff", "check", "--output-format=concise", *FOLDERS]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_no_file_is_too_long() -> None:
    too_long = [f"{path}: {length} lines" for path in sources() if (length := len(lines_of(path))) > LONGEST]
    assert not too_long, "\n".join(too_long)


def test_every_compiled_module_declares_itself() -> None:
    compiled = [path for path in sources() if path.suffix == ".pyx"]
    assert compiled
    bare = [path for path in compiled if not any((ROOT / path.with_suffix(end)).exists() for end in (".pxd", ".pyi"))]
    assert bare == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [path for path in sources() if FORBIDDEN_NAMES & {path.stem, *path.parent.parts}] == []


# Hot functions -------------------------------------------------------------------------------------------------------
#
# A function with `# hot` above or behind its first line must stay C. Cython's annotation (the yellow lines of
# `cython -a`) tells. Without the GIL a line's score must be 0. With it, moving references and reading the sizes of
# builtin objects score too, though they cost a few instructions; there, no line may call into the interpreter.
# `# warm: reason` behind a line lets it.

HOT = re.compile(r"#\s*hot\s*$")
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


def yellow(lines: Sequence[str], annotation: str) -> list[str]:
    """`LINE: its text (what it calls)` for each line of a hot function that is not C and has no excuse."""
    annotated = {int(number): (int(score), code) for score, number, code in ANNOTATED_LINE.findall(annotation)}
    assert len(annotated) == len(lines), "the annotation does not look as expected"
    return [
        f"{number}: {lines[number - 1].strip()} ({', '.join(costs)})"
        for function in hot_functions(lines)
        for number in function.body
        if not WARM.search(lines[number - 1]) and (costs := costs_of(function, *annotated[number]))
    ]


def costs_of(function: Function, score: int, code: str) -> list[str]:
    if not function.has_gil:
        return [f"score {score}"] if score else []
    return sorted({call for call in CALL.findall(unescape(code)) if not FREE.fullmatch(call)})


def directives() -> dict[str, object]:
    """The compiler directives of setup.py, which decide what is yellow."""
    for node in ast.walk(ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "compiler_directives":
            found: dict[str, object] = ast.literal_eval(node.value)
            return found
    raise AssertionError("setup.py has no compiler_directives")


def annotate(modules: Sequence[Path], folder: Path) -> None:
    """Writes an .html beside each module; several at a time, since Cython needs a second for each."""
    options = [f"-X{name}={value}" for name, value in directives().items()]
    command = [sys.executable, "-m", "cython", "--annotate", *options]
    parts = [part for at in range(PROCESSES) if (part := modules[at::PROCESSES])]
    running = [
        subprocess.Popen([*command, *map(str, part)], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for part in parts
    ]
    try:
        for process in running:
            output, _ = process.communicate(timeout=100)
            assert process.returncode == 0, output.decode()
    finally:
        for process in running:
            process.kill()
            process.communicate()


def modules_with_hot_functions() -> list[Path]:
    return [path for path in sources() if path.suffix == ".pyx" and any(map(HOT.search, lines_of(path)))]


SAMPLE = Path("shardproxy/sample.pyx")
SAMPLE_TEXT = """\
# hot
cdef int white(int a,
               int b) noexcept nogil:
    return a + b

cdef class Thing:
    cdef object owner
    cdef bytes data

    # hot
    cdef Py_ssize_t moves_references(self, bytes data) noexcept:
        self.data = data
        return len(data)

    cdef object forgotten(self):
        return self.owner.name

    cdef object calls(self):  # hot
        self.owner.first()
        self.owner.second()  # warm: once a connection
        self.owner.third()  # warm:
        return None
"""


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the annotation of every module that has hot functions, and of the sample."""
    folder = tmp_path_factory.mktemp("annotated")
    for path in sources():
        if path.parts[0] == "shardproxy" and (path.suffix in (".pyx", ".pxd") or path.name == "__init__.py"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, folder / path)
    (folder / SAMPLE).write_text(SAMPLE_TEXT, encoding="utf-8")
    annotate([*modules_with_hot_functions(), SAMPLE], folder)
    return folder


def yellow_in(folder: Path, module: Path) -> list[str]:
    lines = (folder / module).read_text(encoding="utf-8").splitlines()
    return yellow(lines, (folder / module).with_suffix(".html").read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", modules_with_hot_functions(), ids=str)
def test_hot_functions_stay_c(annotated: Path, module: Path) -> None:
    found = yellow_in(annotated, module)
    assert not found, "\n".join([f"calls into the interpreter in hot functions of {module}:", *found])


def test_a_hot_function_that_calls_into_the_interpreter_is_found(annotated: Path) -> None:
    found = yellow_in(annotated, SAMPLE)
    assert [line.partition(" (")[0] for line in found] == ["19: self.owner.first()", "21: self.owner.third()  # warm:"]


def test_a_mark_without_a_function_is_an_error() -> None:
    with pytest.raises(AssertionError, match="line 1 says `# hot`"):
        list(hot_functions(["# hot", "x = 1"]))
