"""Whatever stands in a file: `load` gives a configuration or `ConfigErrors`, and every error is one plain line."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from hypothesis import given, settings
from hypothesis import strategies as st

from shardproxy.config import forms
from shardproxy.config.errors import ConfigErrors
from shardproxy.config.load import load, parse
from shardproxy.config.plain import decode, encode, to_plain
from shardproxy.config.schema import Config
from shardproxy.config.shapes import Group, Many, group_of
from shardproxy.config.units import MAX_DURATION_NS, parse_duration, parse_rate, parse_size

FULL = (Path(__file__).parents[2] / "configs" / "full.yaml").read_text()
ENVIRON = {"A": "1", "B": "127.0.0.1:80", "C": ""}


def _keys(group: Group) -> set[str]:
    inner = [key.shape.item if isinstance(key.shape, Many) else key.shape for key in group.keys.values()]
    return set(group.keys).union(*(_keys(one) for one in inner if isinstance(one, Group)))


words = st.sampled_from(
    ["1", "0", "auto", "15s", "1MiB", "5/s", "/", "app", "127.0.0.1:80", "${A}", "${B}", "null", ""]
)
keys = st.sampled_from(sorted(_keys(group_of(Config)))) | st.text(max_size=5)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=20)
trees = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6))
yaml_signs = st.text("abc:-[]{}#&*!|>%@`'\"\\,? \n\t\r$~<=/.019\0\x85\ufeff\u2028é", max_size=60)


def holds(text: str) -> None:
    try:
        config = parse(text, "x.yaml", ENVIRON)
    except ConfigErrors as errors:
        assert errors.errors
        assert all(1 <= error.line <= len(re.findall("[\r\n]", text)) + 1 for error in errors.errors)
        assert len(str(errors).split("\n")) == len(errors.errors)
    else:
        assert decode(encode(config)) == config
        assert parse(json.dumps(to_plain(config)), "x.json", ENVIRON) == config


@settings(deadline=None)  # the machine may be busy with other tests
@given(st.text() | yaml_signs)
def test_any_text(text: str) -> None:
    holds(text)


@settings(deadline=None)
@given(trees)
def test_any_tree(tree: object) -> None:
    holds(json.dumps(tree))


@settings(deadline=None)
@given(st.integers(0, len(FULL)), st.integers(0, 12), yaml_signs)
def test_a_good_file_with_any_piece_replaced(start: int, length: int, piece: str) -> None:
    holds(FULL[:start] + piece + FULL[start + length :])


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(FULL.splitlines()), st.integers(0, 6)), max_size=30))
def test_lines_of_a_good_file_in_any_order_and_depth(lines: list[tuple[str, int]]) -> None:
    holds("\n".join(" " * depth + line for line, depth in lines))


@settings(deadline=None)
@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    with NamedTemporaryFile(suffix=".yaml") as file:
        file.write(data)
        file.flush()
        with suppress(ConfigErrors):
            load(file.name)


@settings(deadline=None)
@given(st.integers(0, MAX_DURATION_NS))
def test_a_duration_is_written_as_it_is_read(nanoseconds: int) -> None:
    assert parse_duration(forms.write_duration(nanoseconds)) == nanoseconds


@settings(deadline=None)
@given(st.integers(0, 1 << 50))
def test_a_size_is_written_as_it_is_read(size: int) -> None:
    assert parse_size(forms.write_size(size)) == size


@settings(deadline=None)
@given(st.floats(1e-6, 1e9))
def test_a_rate_is_written_as_it_is_read(per_second: float) -> None:
    assert parse_rate(forms.write_rate(per_second)) == per_second
