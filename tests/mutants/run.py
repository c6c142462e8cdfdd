"""Mutants of one room's Python: mutmut changes one place at a time, and the unit tests of the room are to notice.

    python -m tests.mutants.run supervisor             the whole room
    python -m tests.mutants.run supervisor care scale  two of its files
    python -m tests.mutants.run supervisor --again     only what has survived, and the functions that have changed since

Everything happens in build/mutants/ROOM, in a copy of the work tree as it is (not only what is committed); compiled
modules are copied with it.  One test process at a time.  Prints a table, file by file, and writes every survivor with
its difference to build/mutants/ROOM/survivors.diff.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.mutants import results

ROOT = Path(__file__).parents[2]
ROOMS = ("supervisor", "controller", "config", "limits")
# What the tests of these rooms read, beside the code.
COPIED = ("shardproxy", "tests", "configs", "docs", "systemd")
NOT_COPIED = ("__pycache__", "*.c", "*.pyc", ".hypothesis", "results")

# Hypothesis then draws the same every time, and does not mind a slow machine.
ENVIRONMENT = {**os.environ, "CI": "true"}

SETTINGS = """
[tool.mutmut]
source_paths = ["shardproxy"]
only_mutate = ["shardproxy/{room}/*"]
also_copy = ["configs", "docs", "systemd"]
pytest_add_cli_args_test_selection = ["tests/unit/{room}"]
pytest_add_cli_args = ["-p", "no:cacheprovider"]
use_git_change_detection = false
timeout_multiplier = 5.0
timeout_constant = 2.0
"""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.run", description=__doc__.splitlines()[0])
    parser.add_argument("room", choices=ROOMS)
    parser.add_argument("files", nargs="*", help="names of files in the room, without .py (default: all)")
    parser.add_argument("--again", action="store_true", help="do not repeat what was killed already")
    wanted = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that mutmut is ended, too
    place = ROOT / "build" / "mutants" / wanted.room
    if not wanted.again:
        shutil.rmtree(place, ignore_errors=True)
    copy(place, wanted.room)
    patterns = [f"shardproxy.{wanted.room}.{folder}{name}.x*" for name in wanted.files for folder in ("", "*.")]
    code = mutate(place, [] if results.forget_survivors(place, wanted.files) else patterns)
    found = results.read(place, wanted.files)
    results.write_survivors(place, found)
    print(results.table(found))
    return code


def copy(place: Path, room: str) -> None:
    """The work tree as it is, with `shardproxy/supervisor` as a folder instead of a link."""
    for name in COPIED:
        _mirror(ROOT / name, place / name, place / "mutants" / name)
    settings = (ROOT / "pyproject.toml").read_text() + SETTINGS.format(room=room)
    (place / "pyproject.toml").write_text(settings)


def mutate(place: Path, names: list[str]) -> int:
    """Run mutmut; whatever it has started is gone when this returns."""
    command = [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", "1", *names]
    with (place / "mutmut.log").open("w") as log:
        process = subprocess.Popen(command, cwd=place, env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True)
        try:
            return process.wait()
        finally:
            _end_all(process)


def _end_all(process: subprocess.Popen[bytes]) -> None:
    """mutmut, and the processes of tests that were cut short."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _mirror(source: Path, target: Path, mutated: Path) -> None:
    """Make `target` what `source` is, and let what mutmut has copied of a changed or deleted file be copied again."""
    kept = set()
    for path in _files(source):
        name = path.relative_to(source)
        kept.add(name)
        if not (target / name).exists() or (target / name).read_bytes() != path.read_bytes():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target / name)  # with the time of now, which is how mutmut sees a change
            if path.suffix != ".py":
                (mutated / name).unlink(missing_ok=True)
    for folder in (target, mutated):
        for path in [each for each in folder.rglob("*") if each.is_file()] if folder.is_dir() else []:
            is_ours = path.suffix in (".meta", ".spans")
            if path.relative_to(folder) not in kept and not is_ours:
                path.unlink()


def _files(folder: Path) -> Iterator[Path]:
    """All files below, links followed."""
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name not in NOT_COPIED]
        for name in files:
            path = Path(place, name)
            if not any(path.match(pattern) for pattern in NOT_COPIED):
                yield path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
