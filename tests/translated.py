"""The compiled modules as Cython translates them: their C, and the annotation that `cython -a` makes.

Cython needs a second for each, so a session translates a module once; see conftest.py in tests/unit.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from Cython.Build.Dependencies import create_dependency_tree

ROOT = Path(__file__).parents[1]
PACKAGE = "shardproxy"
PROCESSES = 2
PATIENCE_S = 400  # a busy machine takes minutes

HOT = re.compile(r"#\s*hot(?:, boundary)?\s*$")

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

    cdef int swallows(self) noexcept:
        return self.owner.count

    cdef int raises(self) except -1:
        return self.owner.count

    cdef object calls(self):  # hot
        self.owner.first()
        self.owner.second()  # warm: once a connection
        self.owner.third()  # warm:
        return None
"""


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def directives() -> dict[str, object]:
    """The compiler directives of setup.py, which decide what is yellow, but for those of debug builds."""
    for node in ast.walk(ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "compiler_directives":
            assert isinstance(node.value, ast.Dict)
            pairs = zip(node.value.keys, node.value.values, strict=True)
            constants = [(key, value.value) for key, value in pairs if isinstance(value, ast.Constant)]
            return {ast.literal_eval(key): value for key, value in constants if key is not None}
    raise AssertionError("setup.py has no compiler_directives")


def translate(modules: Sequence[Path], folder: Path, *options: str) -> None:
    """Writes a .c beside each module; several at a time, since Cython needs a second for each."""
    directed = [f"-X{name}={value}" for name, value in directives().items()]
    command = [sys.executable, "-m", "cython", *options, *directed]
    parts = [part for at in range(PROCESSES) if (part := modules[at::PROCESSES])]
    running = [
        subprocess.Popen([*command, *map(str, part)], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for part in parts
    ]
    try:
        for process in running:
            output, _ = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0, output.decode()
    finally:
        for process in running:
            process.kill()
            process.communicate()


def package_files() -> list[Path]:
    """Relative to the root."""
    return sorted(path.relative_to(ROOT) for path in (ROOT / PACKAGE).rglob("*.*"))


def compiled_modules() -> list[Path]:
    return [path for path in package_files() if path.suffix == ".pyx"]


def modules_with_hot_functions() -> list[Path]:
    return [path for path in compiled_modules() if any(map(HOT.search, lines_of(ROOT / path)))]


def annotated_copy(folder: Path) -> None:
    """Makes a copy of the package with C and annotation of every module that has hot functions, and of the sample."""
    for path in package_files():
        if path.suffix in (".pyx", ".pxd") or path.name == "__init__.py":
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, folder / path)
    (folder / SAMPLE).write_text(SAMPLE_TEXT, encoding="utf-8")
    translate([*modules_with_hot_functions(), SAMPLE], folder, "--annotate")


def finder_of_c(folder: Path) -> Callable[[Path], Path]:
    """Finds the C of a module: in an annotated copy, or of the build if nothing has changed since, or made anew."""
    dependencies = create_dependency_tree(quiet=True)  # type: ignore[no-untyped-call]

    def find(module: Path) -> Path:
        built, made = (ROOT / module).with_suffix(".c"), (folder / module).with_suffix(".c")
        if made.exists():
            return made
        if built.exists() and dependencies.newest_dependency(str(ROOT / module))[0] <= built.stat().st_mtime:
            return built
        translate([module], folder)
        return made

    return find
