"""Every import goes to the same room or to a lower floor, in plain Python and in Cython alike.

import-linter is not enough: it is blind to what a .pyx imports.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = (".py", ".pyi", ".pyx", ".pxd")
FLOORS = (
    ("config",),
    ("http1", "shm", "tls"),
    ("control", "routing", "balancing", "limits", "observe"),
    ("filters",),
    ("proxy",),
    ("worker", "controller", "client"),
    ("supervisor",),
    ("cli", "demo"),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
ONE_ROOM = {"demo": "cli", "__main__": "cli"}
PACKAGE = "shardproxy"

CYTHON_IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+c?import[ \t]+(.+)|c?import[ \t]+([\w.]+.*))$", re.M)
CYTHON_INCLUDE = re.compile(r"^[ \t]*include[ \t]+[\"']", re.M)


def sources(root: Path) -> dict[str, Path]:
    """The files of the package by module name (`shardproxy.routing.table`, or `....table.pxd` and so on).

    The supervisor's folder comes in once, by its own place, not through the link.
    """
    folders = {PACKAGE: root / PACKAGE, f"{PACKAGE}.supervisor": root / "supervisor"}
    return {
        ".".join((name, *path.relative_to(folder).parts)): path
        for name, folder in folders.items()
        for path in sorted(folder.rglob("*"))
        if path.suffix in SOURCES and (root / PACKAGE / "supervisor") not in path.parents
    }


def room_of(module: str) -> str | None:
    """`routing` for `shardproxy.routing.table`; None for the bare package and for what is not ours."""
    package, *rest = module.split(".")
    if package != PACKAGE or not rest:
        return None
    return ONE_ROOM.get(rest[0], rest[0])


def imports(path: Path, name: str) -> set[str]:
    """Modules (or names in them) that a source file imports, relative ones resolved."""
    text = path.read_text(encoding="utf-8")
    package = name.removesuffix(path.suffix).split(".")[:-1]
    found = python_imports(text) if path.suffix in (".py", ".pyi") else cython_imports(text)
    return {absolute(module, package) for module in found}


def python_imports(text: str) -> Iterator[str]:
    """As `module.name`; a relative one begins with its dots."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from joined("." * node.level + (node.module or ""), [alias.name for alias in node.names])


def cython_imports(text: str) -> Iterator[str]:
    """The same from lines `import`, `cimport`, `from ... import` and `from ... cimport`."""
    plain = re.sub(r"\\\n", " ", re.sub(r"#.*", "", text))
    one_line = re.sub(r"import[ \t]*\(([^)]*)\)", lambda match: "import " + " ".join(match[1].split()), plain)
    for module, names, modules in CYTHON_IMPORT.findall(one_line):
        listed = [part.split()[0] for part in (names or modules).split(",") if part.strip()]
        yield from joined(module, listed) if module else listed


def joined(module: str, names: list[str]) -> Iterator[str]:
    separator = "" if module.endswith(".") else "."
    yield from (f"{module}{separator}{name}" for name in names)


def absolute(module: str, package: list[str]) -> str:
    """`..shm.clock` in the package `shardproxy.routing` as `shardproxy.shm.clock`."""
    relative = module.lstrip(".")
    dots = len(module) - len(relative)
    return ".".join([*package[: len(package) + 1 - dots], relative]) if dots else module


def breaches(root: Path) -> list[str]:
    """A sentence for each import that goes up or sideways, or between rooms without a floor."""
    return [
        sentence
        for name, path in sources(root).items()
        for target in sorted(imports(path, name))
        if (sentence := breach(name, path, target, root))
    ]


def breach(name: str, path: Path, target: str, root: Path) -> str:
    here, there = room_of(name.removesuffix(path.suffix)), room_of(target)
    if there is None or here == there or not is_room(target, root):
        return ""
    if here not in FLOOR and here != "__init__":
        return f"{path.relative_to(root)}: the room {here!r} has no floor"
    if there not in FLOOR:
        return f"{path.relative_to(root)}: imports {target}, whose room has no floor"
    if here == "__init__" or FLOOR[there] >= FLOOR[here]:
        return f"{path.relative_to(root)}: imports {target}, which is not below"
    return ""


def is_room(target: str, root: Path) -> bool:
    """Not a mere name in the package's own `__init__.py`, such as `shardproxy.__version__`."""
    place = root / PACKAGE / target.split(".")[1]
    return place.is_dir() or any(place.with_suffix(suffix).exists() for suffix in SOURCES)


def test_every_import_goes_down() -> None:
    found = breaches(ROOT)
    assert not found, "\n".join(found)


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(name.removesuffix(path.suffix)) for name, path in sources(ROOT).items()}
    assert rooms - {"__init__"} <= FLOOR.keys()
    assert {"config", "shm", "routing", "proxy", "worker", "supervisor", "cli"} <= rooms


def test_no_compiled_module_includes_the_text_of_another() -> None:
    compiled = [path for path in sources(ROOT).values() if path.suffix in (".pyx", ".pxd")]
    assert [str(path) for path in compiled if CYTHON_INCLUDE.search(path.read_text(encoding="utf-8"))] == []


UPWARD = [
    ("shm/x.py", "import shardproxy.proxy.pool"),
    ("shm/x.py", "def late():\n    from shardproxy.proxy import pool"),
    ("shm/x.py", "from shardproxy import proxy"),
    ("shm/x.py", "from ..proxy import pool"),
    ("shm/x.py", "from .. import proxy"),
    ("shm/deep/x.py", "from ...proxy.pool import Source"),
    ("shm/x.pyi", "from shardproxy.proxy.pool import Source"),
    ("shm/x.pyx", "from shardproxy.proxy.pool cimport Source"),
    ("shm/x.pyx", "from libc.stdint cimport int32_t\nfrom ..proxy.pool cimport (Source,\n    Pool)"),
    ("shm/x.pyx", "from shardproxy cimport (\n    shm,  # ours\n    proxy,\n)"),
    ("shm/x.pyx", "from shardproxy cimport shm, \\\n    proxy"),
    ("shm/x.pyx", "cdef f():\n    import os, shardproxy.proxy.pool as pool"),
    ("shm/x.pxd", "cimport shardproxy.proxy.pool"),
    ("shm/x.pxd", "from .. cimport proxy as up"),
    ("http1/x.py", "from shardproxy.shm import x"),
    ("worker/x.py", "from shardproxy.supervisor import main"),
    ("../supervisor/x.py", "from shardproxy.cli import main"),
    ("../supervisor/x.py", "from ..cli import main"),
    ("__init__.py", "from shardproxy.config import load"),
    ("attic/x.py", "from shardproxy.config import load"),
    ("cli.py", "from shardproxy.attic import x"),
]
DOWNWARD = [
    ("proxy/x.pyx", "from shardproxy.shm.gauges cimport Gauges\nfrom ..http1 cimport head"),
    ("proxy/x.pyx", "from . import pool\nfrom .pool cimport Pool\nfrom shardproxy.proxy import pool"),
    ("shm/x.pyx", '"""Text\nfrom the proxy, which may import what it likes."""\n# from shardproxy.proxy import pool'),
    ("shm/x.py", "from shardproxy import __version__\nimport shardproxy\nimport proxy, os.path"),
    ("../supervisor/x.py", "from shardproxy.worker import main\nfrom . import state"),
    ("cli.py", "from shardproxy.demo import run\nfrom shardproxy.supervisor import main"),
    ("__main__.py", "from shardproxy.cli import main"),
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small package with the same rooms, its supervisor behind a link as ours is."""
    for room in (*FLOOR, "attic"):
        folder = tmp_path / "supervisor" if room == "supervisor" else tmp_path / PACKAGE / room
        folder.mkdir(parents=True)
    (tmp_path / PACKAGE / "supervisor").symlink_to("../supervisor")
    (tmp_path / PACKAGE / "cli").rmdir()
    (tmp_path / PACKAGE / "cli.py").touch()
    return tmp_path


def write(tree: Path, place: str, text: str) -> None:
    path = (tree / PACKAGE / place).resolve()
    path.parent.mkdir(exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


@pytest.mark.parametrize(("place", "text"), UPWARD)
def test_an_import_upwards_or_sideways_is_found(tree: Path, place: str, text: str) -> None:
    write(tree, place, text)
    assert breaches(tree) != []


@pytest.mark.parametrize(("place", "text"), DOWNWARD)
def test_an_import_downwards_is_fine(tree: Path, place: str, text: str) -> None:
    write(tree, place, text)
    assert breaches(tree) == []
