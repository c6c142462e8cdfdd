from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.supervisor.stage import Stage, staged


@pytest.fixture(autouse=True)
def own_unraisable_hook() -> Iterator[None]:
    """What the supervisor and its children install for their own process is not left to the other tests."""
    former = sys.unraisablehook
    yield
    sys.unraisablehook = former


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
