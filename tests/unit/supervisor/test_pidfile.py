from __future__ import annotations

import os
import re
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shardproxy.supervisor import pidfile
from shardproxy.supervisor.pidfile import PidFile, PidFileError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shardproxy.pid"


@contextmanager
def another_supervisor(path: Path) -> Iterator[int]:
    """A process that holds the file until it is killed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        held = PidFile.write(path)
        os.write(writer, b"held" if held else b"")
        signal.pause()
        os._exit(0)
    try:
        assert os.read(reader, 4) == b"held"
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)
        os.close(writer)


def test_it_tells_our_pid_and_is_gone_at_the_end(path: Path) -> None:
    held = PidFile.write(path)
    assert path.read_text() == f"{os.getpid()}\n"
    assert stat.S_IMODE(path.stat().st_mode) & ~0o644 == 0
    assert list(path.parent.iterdir()) == [path]
    assert repr(held) == f"<PidFile {path} held>"
    held.remove()
    held.remove()
    assert list(path.parent.iterdir()) == []
    assert repr(held) == f"<PidFile {path} given up>"


def test_a_living_supervisor_keeps_it(path: Path) -> None:
    with another_supervisor(path) as pid:
        with pytest.raises(PidFileError, match=f"^pid_file: {path} is held by another supervisor, pid {pid}$"):
            PidFile.write(path)
        assert path.read_text() == f"{pid}\n"
        assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_one_has_left_is_replaced_even_if_somebody_has_its_pid(path: Path) -> None:
    with another_supervisor(path):
        pass
    path.write_text(f"{os.getppid()}\n")
    held = PidFile.write(path)
    assert path.read_text() == f"{os.getpid()}\n"
    held.remove()


@pytest.mark.parametrize("left", ["", "4711", "4711\n", " 12 \n"])
def test_a_file_without_a_holder_is_replaced(path: Path, left: str) -> None:
    path.write_text(left)
    held = PidFile.write(path)
    assert path.read_text() == f"{os.getpid()}\n"
    held.remove()


def test_a_file_that_is_something_else_is_left_alone(path: Path) -> None:
    path.write_text("root:x:0:0")
    with pytest.raises(PidFileError, match="is there and is not a pid file; it is left alone"):
        PidFile.write(path)
    assert path.read_text() == "root:x:0:0"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["directory", "link", "pipe"])
def test_nothing_but_a_plain_file_is_replaced(path: Path, kind: str) -> None:
    if kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("/etc/hostname")
    else:
        os.mkfifo(path)
    mode = path.lstat().st_mode
    with pytest.raises(PidFileError, match=re.escape(str(path))):
        PidFile.write(path)
    assert path.lstat().st_mode == mode


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(PidFileError, match="cannot be written: No such file or directory"):
        PidFile.write(tmp_path / "no" / "pid")


def test_a_file_that_has_taken_its_place_is_not_removed(path: Path) -> None:
    held = PidFile.write(path)
    path.unlink()
    path.write_text("4711\n")
    held.remove()
    assert path.read_text() == "4711\n"


def test_a_child_does_not_remove_it(path: Path) -> None:
    held = PidFile.write(path)
    pid = os.fork()
    if pid == 0:
        held.remove()
        os._exit(0)
    os.waitpid(pid, 0)
    assert path.exists()
    held.remove()


def test_it_is_closed_on_exec_so_that_the_code_after_a_hot_restart_can_have_it(path: Path) -> None:
    held = PidFile.write(path)
    os.close(held._fd)  # as execve does
    successor = PidFile.write(path)
    assert path.read_text() == f"{os.getpid()}\n"
    successor.remove()
    assert not path.exists()


def test_a_child_that_was_just_born_keeps_us_from_it_only_for_a_moment(path: Path) -> None:
    held = PidFile.write(path)
    pid = os.fork()
    if pid == 0:
        time.sleep(0.1)  # what it does before it closes what is not its own
        os._exit(0)
    os.close(held._fd)
    successor = PidFile.write(path)
    os.waitpid(pid, 0)
    assert path.read_text() == f"{os.getpid()}\n"
    successor.remove()


def test_our_pid_in_a_file_that_another_holds_for_good_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in two containers that share a folder: both are pid 1."""
    monkeypatch.setattr(pidfile, "PATIENCE_S", 0.1)
    with another_supervisor(path):
        with path.open("r+") as file:
            file.write(f"{os.getpid()}\n")
            file.truncate()
        with pytest.raises(PidFileError, match="is held by another supervisor"):
            PidFile.write(path)


def test_of_many_that_start_at_once_one_has_it(path: Path) -> None:
    path.write_text("4711\n")
    reader, writer = os.pipe()
    children = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            try:
                PidFile.write(path)
                os.write(writer, b"h")
                signal.pause()
            except PidFileError:
                os.write(writer, b"r")
            os._exit(0)
        children.append(pid)
    said = b"".join(os.read(reader, 1) for _ in children)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    os.close(reader)
    os.close(writer)
    assert sorted(said) == sorted(b"h" + b"r" * 7)
