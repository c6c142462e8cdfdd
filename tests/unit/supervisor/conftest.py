from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.supervisor.stage import Stage, staged


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A supervisor with two workers that are ready."""
    with staged(tmp_path) as started:
        yield started


@pytest.fixture
def restarting(stage: Stage) -> Stage:
    """A hot restart that waits for its preflight."""
    stage.signal(signal.SIGUSR2)
    assert len(stage.preflights) == 1
    return stage
