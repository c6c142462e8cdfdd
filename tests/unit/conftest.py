"""What Cython makes of the compiled modules, once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.translated import annotated_copy, finder_of_c


@pytest.fixture(scope="session")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with C and annotation of every module that has hot functions, and of the sample."""
    folder = tmp_path_factory.mktemp("annotated")
    annotated_copy(folder)
    return folder


@pytest.fixture(scope="session")
def c_of(annotated: Path) -> Callable[[Path], Path]:
    """The C of a module."""
    return finder_of_c(annotated)
