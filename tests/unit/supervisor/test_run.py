"""The supervisor from its first line to its last, and what it says when it cannot begin or go on."""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from shardproxy.config.load import load
from shardproxy.config.schema import Config
from shardproxy.supervisor import record as records
from shardproxy.supervisor.children import Entries
from shardproxy.supervisor.main import FAILED, resume, run
from tests.unit.supervisor.stage import (
    Executed,
    Stage,
    own_log_handlers,
    record_left_behind,
    staged,
    write,
)

# The whole of it


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Config]:
    write(tmp_path / "proxy.yaml", 1, {})
    with own_log_handlers():
        yield load(tmp_path / "proxy.yaml")


NEVER_READY = Entries("tests.unit.supervisor.forked:returns_nothing", "tests.unit.supervisor.forked:returns_nothing")


def test_it_fails_when_its_children_never_serve(
    config: Config, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(config, tmp_path / "proxy.yaml", NEVER_READY) == FAILED
    said = capfd.readouterr().err
    assert f"CRITICAL supervisor[{os.getpid()}] giving up: worker 0 ended 5 times before it was ready" in said
    assert said.rstrip().endswith(" stopped")
    assert gc.get_freeze_count() == 0


def test_it_says_why_it_cannot_start(config: Config, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server((config.listeners[0].bind.host, config.listeners[0].bind.port)):
        assert run(config, None, NEVER_READY) == FAILED
    text = f"cannot start: listener web cannot listen on {config.listeners[0].bind}: another process is listening there"
    assert f"CRITICAL supervisor[{os.getpid()}] {text}\n" in capfd.readouterr().err


def test_without_a_place_for_its_pid_it_gives_back_what_it_has_bound(
    config: Config, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = msgspec.structs.replace(config, pid_file=str(tmp_path / "nowhere" / "pid"))
    assert run(wrong, None, NEVER_READY) == FAILED
    assert f"CRITICAL supervisor[{os.getpid()}] cannot start: " in capfd.readouterr().err
    with socket.create_server((config.listeners[0].bind.host, config.listeners[0].bind.port)):
        pass


def test_code_that_cannot_take_over_says_so_and_ends(
    stage: Stage, config: Config, capfd: pytest.CaptureFixture[str]
) -> None:
    stage.signal(signal.SIGUSR2)
    stage.preflights[0].succeeds(load(stage.file))
    with pytest.raises(Executed):
        stage.step()
    record = record_left_behind(stage)
    records.leave_behind(msgspec.structs.replace(record, config=b"\xc1"))
    assert resume(NEVER_READY) == FAILED
    said = capfd.readouterr().err
    text = "the new code cannot take over, and the old one is gone: msgspec."
    assert f"CRITICAL supervisor[{os.getpid()}] {text}" in said
    for fd in record.descriptors():
        os.close(fd)


def test_too_few_descriptors_are_warned_of(tmp_path: Path) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] == resource.RLIM_INFINITY:
        pytest.skip("there is no limit here")
    with staged(tmp_path, {"{name: web,": "{name: web, max_connections: 2000000000,"}) as stage:
        assert any(line.startswith("WARNING max_connections may need ") for line in stage.log)


