"""Memory that runs out on demand: a process whose allocations fail while a test says so.

The allocator is failing_malloc.c, built by the C compiler that the package needs too.
"""

from __future__ import annotations

import mmap
import os
import platform
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[1]
_SOURCE = Path(__file__).with_suffix(".c")
_COMPILER = os.environ.get("CC", "cc")
_PAGE = "FAILING_MALLOC"  # the environment variable that names the file of the shared page
_PID = struct.Struct("=I")
_ORDERS = struct.Struct("=IIQQQQQ")
_MOST = (1 << 64) - 1

only_with_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or shutil.which(_COMPILER) is None,
    reason="needs a C compiler, and glibc, whose own allocator can be called by name",
)


class Orders:
    """What the allocator is told, through a page that it shares with this process."""

    def __init__(self, page_file: Path) -> None:
        with page_file.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    @classmethod
    def here(cls) -> Orders:
        """In a process that has the allocator itself."""
        return cls(Path(os.environ[_PAGE]))

    @contextmanager
    def refuse(
        self, pid: int, *, nth: int = 1, least: int = 0, most: int = _MOST, times: int = _MOST
    ) -> Iterator[None]:
        """Inside, `pid` gets no memory at each `nth` request for `least` to `most` bytes, but at most `times`."""
        _ORDERS.pack_into(self._page, 0, 0, nth, least, most, times, 0, 0)
        _PID.pack_into(self._page, 0, pid)
        try:
            yield
        finally:
            _PID.pack_into(self._page, 0, 0)

    @property
    def refused(self) -> int:
        """How many requests got no memory, inside the last `refuse`."""
        return int(_ORDERS.unpack_from(self._page)[-1])

    def close(self) -> None:
        self._page.close()


class FailingMalloc:
    """The allocator, built in `folder`, and the orders that it takes."""

    def __init__(self, folder: Path) -> None:
        self._library = folder / "failing_malloc.so"
        self._page_file = folder / "failing_malloc.page"
        options = ["-O1", "-shared", "-fPIC", "-fno-builtin"]
        subprocess.run([_COMPILER, *options, "-o", str(self._library), str(_SOURCE)], check=True, timeout=100)
        self._page_file.write_bytes(bytes(mmap.PAGESIZE))
        self.orders = Orders(self._page_file)

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that is to have the allocator, as have all processes that it starts."""
        return {"LD_PRELOAD": str(self._library), _PAGE: str(self._page_file)}

    def run(self, program: str) -> str:
        """Run Python text that has the allocator, with `orders` and `pid` of its own; what it prints."""
        head = "import os\nfrom tests.failing_malloc import Orders\norders, pid = Orders.here(), os.getpid()\n"
        ran = subprocess.run(
            [sys.executable, "-c", head + dedent(program)],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr == ""
        return ran.stdout.rstrip()

    def close(self) -> None:
        self.orders.close()


@contextmanager
def failing_malloc(folder: Path) -> Iterator[FailingMalloc]:
    malloc = FailingMalloc(folder)
    try:
        yield malloc
    finally:
        malloc.close()
