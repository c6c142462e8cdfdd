"""The preflight: a process of the new code that says whether it would serve the file."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shardproxy.config.load import load
from shardproxy.config.plain import decode
from shardproxy.supervisor import preflight
from shardproxy.supervisor.preflight import BAD_CONFIGURATION, OK, Preflight, rehearse
from tests.proxykit import eventually
from tests.unit.supervisor.forked import open_descriptors
from tests.unit.supervisor.stage import edit, own_log_handlers, write

ENVIRONMENT = "SHARDPROXY_PREFLIGHT"


@contextmanager
def running(code: str) -> Iterator[Preflight]:
    child = Preflight([sys.executable, "-c", f"import os, sys\n{code}"])
    try:
        yield child
    finally:
        child.end()


@contextmanager
def over(code: str) -> Iterator[Preflight]:
    with running(code) as child:
        eventually(lambda: child.is_over, "the child to end")
        yield child


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "proxy.yaml"
    write(path, 2, {})
    return path


@pytest.fixture
def result(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The descriptor that the child writes its configuration to."""
    fd = os.memfd_create("test")
    monkeypatch.setenv(ENVIRONMENT, str(fd))
    with own_log_handlers():
        yield fd
    os.close(fd)
    gc.collect()  # what a rehearsal leaves to the end of its process


# From the supervisor


def test_what_the_child_has_found_right_comes_back() -> None:
    with over(f"os.write(int(os.environ['{ENVIRONMENT}']), b'found')") as child:
        assert child.config() == b"found"


@pytest.mark.parametrize(
    "code", ["pass", f"os.write(int(os.environ['{ENVIRONMENT}']), b'found'); sys.exit(3)"], ids=["nothing", "failure"]
)
def test_without_a_result_or_with_a_failure_there_is_no_configuration(code: str) -> None:
    with over(code) as child:
        assert child.config() is None


def test_a_plain_reason_is_told_whole() -> None:
    with over("sys.stderr.write('line 1 is wrong\\n\\n   \\nline 2 is wrong\\n'); sys.exit(2)") as child:
        assert child.reason() == "line 1 is wrong\nline 2 is wrong"


def test_of_a_traceback_the_last_line_is_told() -> None:
    with over("raise ImportError('this release is broken')") as child:
        assert child.reason() == "ImportError: this release is broken"


def test_a_child_that_says_nothing_is_told_of_by_its_exit_code() -> None:
    with over("sys.exit(7)") as child:
        assert child.reason() == "it ended with exit code 7 and without a word"


def test_of_a_long_reason_the_end_is_told() -> None:
    with over("sys.stderr.write('a' * 100_000 + 'b' * 1999 + 'c\\n')") as child:
        assert child.reason() == "b" * 1999 + "c"


def test_a_reason_that_is_no_text_is_told_all_the_same() -> None:
    with over("sys.stderr.buffer.write(b'\\xff!')") as child:
        assert child.reason() == "\N{REPLACEMENT CHARACTER}!"


def test_a_child_that_hangs_is_ended_with_the_preflight() -> None:
    with running("import time; time.sleep(3600)") as child:
        assert not child.is_over
        child.end()
        assert child.is_over
        child._result, child._words = os.memfd_create("other"), os.memfd_create("other")  # the second end closes these


def test_nothing_of_ours_is_the_child_s_but_the_result() -> None:
    code = "fds = [int(f) for f in os.listdir('/proc/self/fd') if os.path.lexists('/proc/self/fd/' + f)]\n"
    code += f"print(sorted(fds) == [0, 1, 2, int(os.environ['{ENVIRONMENT}'])], os.read(0, 1), file=sys.stderr)"
    with over(code) as child:
        assert child.reason() == "True b''"


def test_a_program_that_is_not_there_leaves_nothing_open() -> None:
    before = len(open_descriptors())
    with pytest.raises(FileNotFoundError):
        Preflight(["/nowhere/python"])
    assert len(open_descriptors()) == before


def test_without_another_command_it_is_the_one_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "-c", "import sys; sys.exit('it is me')"])
    child = Preflight()
    try:
        eventually(lambda: child.is_over, "the child to end")
        assert child.reason() == "it is me"
    finally:
        child.end()


# In the child


def test_it_knows_that_it_is_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    assert not preflight.is_asked_for()
    monkeypatch.setenv(ENVIRONMENT, "7")
    assert preflight.is_asked_for()


def test_a_right_file_is_built_and_handed_back(file: Path, result: int) -> None:
    assert rehearse(file) == OK
    assert decode(os.pread(result, 1 << 20, 0)) == load(file)
    assert not preflight.is_asked_for()


def test_a_wrong_file_is_said_and_is_another_exit_code(
    file: Path, result: int, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(file, "prefix: /", "prefix: nowhere")
    assert rehearse(file) == BAD_CONFIGURATION
    assert "listeners[0].routes[0].match.prefix" in capsys.readouterr().err
    assert os.fstat(result).st_size == 0


def test_a_user_that_is_not_there_stops_it(file: Path, result: int) -> None:
    edit(file, "drain_delay", "user: nobody-of-this-name\ndrain_delay")
    with pytest.raises(Exception, match="there is no user nobody-of-this-name"):
        rehearse(file)
    assert os.fstat(result).st_size == 0


def test_the_memory_it_tries_with_is_given_back(file: Path, result: int) -> None:
    rehearse(file)
    before = memories()
    os.environ[ENVIRONMENT] = str(result)
    rehearse(file)
    assert memories() == before


def memories() -> int:
    """How many memfds this process has open."""
    gc.collect()
    links = list(Path("/proc/self/fd").iterdir())
    return sum(str(link.readlink()).startswith("/memfd:") for link in links if link.is_symlink())
