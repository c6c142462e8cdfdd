"""What the kernel does not watch (epoll_ctl fails) ends visibly, and gives back all that it held.

A regular file stands for a socket that finds no room: epoll takes neither.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardproxy.proxy.downstream import Downstream
from shardproxy.proxy.streams import adopt
from shardproxy.proxy.watching import Reader
from tests.unit.worker.connections import Worker, standing_clock


@pytest.fixture
def worker() -> Iterator[Worker]:
    with standing_clock() as made:
        yield made


@pytest.fixture
def descriptor(tmp_path: Path) -> int:
    return os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)


def test_a_connection_that_is_not_watched_is_closed(
    worker: Worker, descriptor: int, caplog: pytest.LogCaptureFixture
) -> None:
    adopt(worker.process.watcher, descriptor, Downstream(worker.process, worker.listener))
    assert len(worker.process.clients) == 1
    worker.turn()
    assert not worker.process.clients
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    assert "epoll_ctl for <Stream" in caplog.text


def test_a_reader_that_is_not_watched_is_an_error(worker: Worker, descriptor: int) -> None:
    with pytest.raises(PermissionError):
        Reader(worker.process.watcher, descriptor, lambda: None)
    worker.turn()
    os.close(descriptor)
