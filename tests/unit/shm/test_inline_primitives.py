"""The primitives of the data path are copied into their callers and never touch a Python object."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import shardproxy

pytest.importorskip("Cython")

PRIMITIVES = {
    "gauges": ["gauge_add", "gauge_total", "gauge_reserve"],
    "buckets": ["bucket_take", "bucket_give_back"],
    "metrics": ["count", "observe_ns"],
    "decisions": ["decision_is_out"],
    "clock": ["now_ns", "coarse_ns"],
}
CALLER = """
from shardproxy.shm.gauges cimport GaugeCells, gauge_add, gauge_total, gauge_reserve
from shardproxy.shm.buckets cimport BucketLine, BucketRate, bucket_give_back, bucket_take
from shardproxy.shm.metrics cimport MetricCells, count, observe_ns
from shardproxy.shm.decisions cimport Decision, decision_is_out
from shardproxy.shm.clock cimport now_ns, coarse_ns
from libc.stdint cimport uint64_t

cdef api void caller(GaugeCells* gauges, BucketLine* line, BucketRate* rate, MetricCells* metrics,
                     Decision* decisions) noexcept nogil:
    gauge_add(gauges, 0, 1)
    gauge_total(gauges, 0)
    if decision_is_out(decisions, 0):
        return
    if gauge_reserve(gauges, 0, 5) and bucket_take(line, now_ns() - coarse_ns(), 1, rate) == 0:
        bucket_give_back(line, 1, rate)
        count(metrics, 0, 1)
        observe_ns(metrics, 0, 1)
"""


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The C that Cython makes for a module that uses all of them."""
    source = tmp_path_factory.mktemp("caller") / "caller.pyx"
    source.write_text(CALLER)
    checkout = Path(shardproxy.__file__).parents[1]
    subprocess.run(
        [sys.executable, "-m", "cython", "-3", "-I", str(checkout), str(source)], check=True, timeout=60, cwd=checkout
    )
    return source.with_suffix(".c").read_text()


@pytest.mark.parametrize(("room", "name"), [(room, name) for room, names in PRIMITIVES.items() for name in names])
def test_a_primitive_is_inline_and_free_of_python(generated: str, room: str, name: str) -> None:
    symbol = f"__pyx_f_10shardproxy_3shm_{len(room)}{room}_{name}"
    found = re.search(rf"^static CYTHON_INLINE \w+ {symbol}\([^;{{]*\) {{\n(.*?)^}}\n", generated, re.M | re.S)
    assert found, f"{symbol} is not an inline function of its caller"
    code = re.sub(r"/\*.*?\*/", "", found[1], flags=re.S)
    assert re.findall(r"\b(?:__Pyx_|Py)\w+", code) == []
