"""`noexcept` stands only where no Python exception can be raised: there Cython would swallow it, and give back 0.

Functions marked `# boundary` are where exceptions end: they catch all, report it, and go on. What Cython swallows in
them is what fails in the report.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.translated import PATIENCE_S, ROOT, SAMPLE, compiled_modules, lines_of

pytestmark = pytest.mark.timeout(PATIENCE_S)

SWALLOWED = re.compile(r'__Pyx_WriteUnraisable\("([\w.]+)"')
CLASS = re.compile(r"cdef class (\w+)")
FUNCTION = re.compile(r"\s*(?:cdef|cpdef|def)\b[^(]*?(\w+)\(")
BOUNDARY = re.compile(r"\s*# (?:hot, )?boundary$")


def swallowed(translated: Path) -> set[str]:
    """The functions of a module's C in which an exception would be swallowed, by their full names."""
    return set(SWALLOWED.findall(translated.read_text(encoding="utf-8")))


def boundaries(module: Path, lines: Sequence[str]) -> Iterator[str]:
    """The full names of the functions that are marked; raises `AssertionError` where no function follows a mark."""
    place = ".".join(module.with_suffix("").parts)
    owner = ""
    for mark, line in zip(["", *lines], lines, strict=False):
        if line and not line[0].isspace():
            owner = f"{found[1]}." if (found := CLASS.match(line)) else ""
        if BOUNDARY.match(mark):
            found = FUNCTION.match(line)
            assert found, f"no function follows the mark: {line}"
            yield f"{place}.{owner}{found[1]}"


@pytest.mark.parametrize("module", compiled_modules(), ids=str)
def test_no_function_swallows_an_exception(c_of: Callable[[Path], Path], module: Path) -> None:
    found = swallowed(c_of(module)) - {*boundaries(module, lines_of(ROOT / module))}
    assert not found, "\n".join(["exceptions can be raised, in spite of noexcept, in:", *sorted(found)])


def test_a_function_that_would_swallow_an_exception_is_found(c_of: Callable[[Path], Path]) -> None:
    """The length of what may be None, and an attribute of an object."""
    assert swallowed(c_of(SAMPLE)) == {"shardproxy.sample.Thing.moves_references", "shardproxy.sample.Thing.swallows"}


def test_a_boundary_is_known_by_its_full_name() -> None:
    text = """\
# boundary
cdef void alone() noexcept:
    pass

cdef class Owner:
    # boundary
    cdef int method(self, int a,
                    object b) noexcept:
        pass

    cdef void other(self) noexcept:
        pass

# boundary
cdef inline bint last(object a) noexcept:
    pass
"""
    found = [*boundaries(Path("shardproxy/room/module.pyx"), text.splitlines())]
    assert found == ["shardproxy.room.module." + name for name in ("alone", "Owner.method", "last")]


def test_a_mark_without_a_function_is_an_error() -> None:
    with pytest.raises(AssertionError, match="no function follows the mark: x = 1"):
        list(boundaries(Path("shardproxy/room/module.pyx"), ["# boundary", "x = 1"]))
