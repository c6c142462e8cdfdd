"""A log file takes whole lines in large pieces, and never keeps anybody waiting."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardproxy.observe.log_file import LogFile
from shardproxy.shm.clock import start_clock, stop_clock

LINE = b"x" * 999 + b"\n"
BUFFER_BYTES, MOST_LINE = 131072, 32768
BEGIN_NS = 1_000_000_000_000
Logged = pytest.LogCaptureFixture


@pytest.fixture
def logged(caplog: Logged) -> Logged:
    """What the program's log says."""
    return caplog


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    """Stands still, but for `set_time`."""
    set_time(0)
    yield
    start_clock()


def set_time(seconds: float) -> None:
    """Since the beginning of the test."""
    stop_clock(BEGIN_NS + int(seconds * 1e9))


def test_lines_wait_until_they_are_flushed(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    file = LogFile(str(path))
    assert file.append(b"one\n")
    assert file.append(b"two\n")
    assert path.read_bytes() == b""
    file.flush()
    file.flush()
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_new_file_is_not_for_everybody(tmp_path: Path) -> None:
    LogFile(str(tmp_path / "access.log"))
    assert stat.S_IMODE((tmp_path / "access.log").stat().st_mode) & 0o137 == 0


def test_what_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(b"before\n")
    file = LogFile(str(path))
    file.append(b"after\n")
    file.flush()
    assert path.read_bytes() == b"before\nafter\n"


def test_it_writes_by_itself_before_it_is_full(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    file = LogFile(str(path))
    for _ in range(1000):
        assert file.append(LINE)
    written = path.read_bytes()
    assert len(written) >= 1000 * len(LINE) - BUFFER_BYTES
    assert written.endswith(b"\n")


def test_the_last_lines_are_written_when_nobody_needs_it_any_more(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    file = LogFile(str(path))
    file.append(b"last\n")
    del file
    assert path.read_bytes() == b"last\n"


def test_many_processes_append_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    children = []
    for letter in b"abcd":
        pid = os.fork()
        if pid == 0:
            file = LogFile(str(path))
            for number in range(2000):
                file.append(bytes([letter]) * (1 + number % 97) + b"\n")
            file.flush()
            os._exit(0)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0, 0]
    lines = path.read_bytes().splitlines()
    assert len(lines) == 8000
    assert all(len(set(line)) == 1 for line in lines)


def test_who_moves_it_away_gets_the_rest_in_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    file = LogFile(str(path))
    file.append(b"old\n")
    path.rename(tmp_path / "access.log.1")
    file.reopen()
    file.append(b"new\n")
    file.flush()
    assert (tmp_path / "access.log.1").read_bytes() == b"old\n"
    assert path.read_bytes() == b"new\n"


def test_it_goes_on_with_the_old_one_until_it_can_be_opened_anew(tmp_path: Path, logged: Logged) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    file = LogFile(str(directory / "access.log"))
    directory.rename(tmp_path / "moved")
    file.reopen()
    file.append(b"still\n")
    file.flush()
    assert (tmp_path / "moved" / "access.log").read_bytes() == b"still\n"
    assert "the file that was open is written on" in logged.text
    directory.mkdir()
    set_time(1.1)
    file.append(b"again\n")
    file.flush()
    assert (directory / "access.log").read_bytes() == b"again\n"
    assert "is written again; 0 of its lines" in logged.text


def test_a_file_that_must_be_opened_and_cannot_be_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LogFile(str(tmp_path / "no" / "access.log"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device"):
        LogFile(str(tmp_path / "pipe"))


def test_lines_wait_for_a_file_that_cannot_be_opened_yet(tmp_path: Path, logged: Logged) -> None:
    path = tmp_path / "logs" / "access.log"
    file = LogFile(str(path), must_open=False)
    assert file.append(b"one\n")
    assert file.flush() == 4
    path.parent.mkdir()
    assert file.flush() == 4, "opening is not tried more than once a second"
    set_time(1.1)
    assert file.flush() == 0
    assert path.read_bytes() == b"one\n"
    assert [record.levelname for record in logged.records] == ["ERROR", "WARNING"]


def test_lines_beyond_the_buffer_are_counted_and_said_once_a_minute(tmp_path: Path, logged: Logged) -> None:
    file = LogFile(str(tmp_path / "no" / "access.log"), must_open=False)
    while file.append(LINE):
        pass
    for second in range(1, 120):
        set_time(second)
        assert not file.append(LINE)
    assert file.lost == 120
    assert [record.levelname for record in logged.records] == ["ERROR", "ERROR"]
    assert "cannot be opened: No such file or directory; 0 of its lines" in logged.text
    assert "cannot be opened: No such file or directory; 60 of its lines" in logged.text


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_whatever_cannot_be_opened_waits_and_blocks_nobody(tmp_path: Path, logged: Logged, kind: str) -> None:
    path = tmp_path / "access.log"
    path.mkdir() if kind == "directory" else os.mkfifo(path)
    file = LogFile(str(path), must_open=False)
    assert file.append(b"one\n")
    assert file.flush() == 4
    assert "cannot be opened" in logged.text


def test_a_pipe_that_loses_its_reader_is_written_when_it_has_another(tmp_path: Path, logged: Logged) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    file = LogFile(str(tmp_path / "pipe"))
    os.close(reader)
    file.append(b"one\n")
    assert file.flush() == 4
    assert "cannot be opened: Broken pipe" in logged.text
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        set_time(1.1)
        assert file.flush() == 0
        assert os.read(reader, 10) == b"one\n"
    finally:
        os.close(reader)


def test_a_full_disk_is_waited_for(tmp_path: Path, logged: Logged) -> None:
    (tmp_path / "access.log").symlink_to("/dev/full")
    file = LogFile(str(tmp_path / "access.log"))
    file.append(b"one\n")
    assert file.flush() == 4
    assert file.flush() == 4
    assert "cannot be written: No space left on device; 0 of its lines" in logged.text
    assert len(logged.records) == 1


def test_a_file_that_somebody_has_removed_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    file = LogFile(str(path))
    path.unlink()
    file.append(b"one\n")
    set_time(1.1)
    file.flush()
    assert path.read_bytes() == b"one\n"


def test_a_slow_reader_loses_lines_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        file = LogFile(str(tmp_path / "pipe"))
        accepted = 0
        while file.append(LINE):
            accepted += 1
            assert accepted * len(LINE) <= BUFFER_BYTES + (1 << 20), "a pipe and a buffer hold no more"
        got = b""
        while piece := read_some(reader):
            got += piece
            file.flush()
        assert got == LINE * accepted
        assert file.append(LINE)
    finally:
        os.close(reader)


def read_some(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except BlockingIOError:
        return b""


def test_a_line_that_is_too_long_is_left_out(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "access.log"))
    assert not file.append(b"x" * (MOST_LINE + 1))
    assert file.append(b"x" * MOST_LINE)
