"""A small segment that is closed again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shardproxy.shm.layout import Capacities
from shardproxy.shm.segment import Segment


@pytest.fixture
def capacities() -> Capacities:
    return Capacities(
        rows=32,
        gauges=100,
        counters=100,
        histograms=10,
        buckets=10,
        addresses=32,
        decisions=10,
        key_tables=4,
        keys=1024,
    )


@pytest.fixture
def segment(capacities: Capacities) -> Iterator[Segment]:
    made = Segment.create(capacities)
    yield made
    made.close()
