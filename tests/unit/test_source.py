"""What holds for every source file: lint, length, names, and what a compiled module brings along."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("shardproxy", "supervisor", "tests", "loadtests")
SUFFIXES = (".py", ".pyi", ".pyx", ".pxd")
LONGEST = 400  # lines; HOUSE.md: the most loved projects have almost no file above it
# One state machine is one file, with its table and its diagram on top.
LONGER = {Path("shardproxy/proxy/exchange.pyx"): 770, Path("shardproxy/proxy/queue.pyx"): 415}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}


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
    lengths = {path: len(lines_of(path)) for path in sources()}
    too_long = [f"{path}: {lines} lines" for path, lines in lengths.items() if lines > LONGER.get(path, LONGEST)]
    assert not too_long, "\n".join(too_long)


def imported_by_python() -> set[str]:
    """Names that plain Python imports, as `shardproxy.shm.gauges` and as `shardproxy.shm.gauges.Gauges`."""
    found: set[str] = set()
    for path in sources():
        for node in ast.walk(ast.parse("\n".join(lines_of(path)))) if path.suffix == ".py" else ():
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_compiled_module_declares_itself() -> None:
    compiled = [path for path in sources() if path.suffix == ".pyx"]
    assert compiled
    assert [path for path in compiled if not (ROOT / path.with_suffix(".pxd")).exists()] == []


def test_every_compiled_module_that_python_imports_tells_its_types() -> None:
    imported = imported_by_python()
    seen = [path for path in sources() if path.suffix == ".pyx" and ".".join(path.with_suffix("").parts) in imported]
    assert len(seen) > 5, "the imports were not found"
    assert [path for path in seen if not (ROOT / path.with_suffix(".pyi")).exists()] == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [path for path in sources() if FORBIDDEN_NAMES & {path.stem, *path.parent.parts}] == []
