"""A line of an access log says what happened, and stays one line whatever a client sends."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.observe.access_log import FORMATS, line_of

MOST_LINE = 32768
TEXTS = (
    "listener", "client", "method", "host", "target", "referer", "agent", "request_id", "cluster", "endpoint", "reason",
)  # fmt: skip
KEYS = {"agent": "user_agent"}
anything = st.binary(max_size=200)


def as_json(**facts: bytes | int) -> dict[str, object]:
    return dict(json.loads(line_of("json", **facts)))


def combined(**facts: bytes | int) -> str:
    return line_of("combined", **facts).decode("ascii")


def test_json_has_all_facts_in_a_fixed_order() -> None:
    found = as_json(
        listener=b"web", client=b"10.0.0.7", method=b"GET", host=b"a.example", target=b"/x?y=1", status=502,
        bytes_in=3, bytes_out=1024, duration_ns=1_234_567_890, upstream_ns=999_000, retries=2, cluster=b"app",
        endpoint=b"10.0.0.1:80", reason=b"connect_failed", request_id=b"id-1", referer=b"http://b/", agent=b"curl/8.5",
    )  # fmt: skip
    assert datetime.fromisoformat(str(found.pop("time"))).tzinfo == UTC
    assert list(found.items()) == [
        ("listener", "web"), ("client", "10.0.0.7"), ("method", "GET"), ("host", "a.example"), ("target", "/x?y=1"),
        ("protocol", "HTTP/1.1"), ("status", 502), ("bytes_in", 3), ("bytes_out", 1024), ("duration_ms", 1234.567),
        ("upstream_ms", 0.999), ("cluster", "app"), ("endpoint", "10.0.0.1:80"), ("retries", 2),
        ("reason", "connect_failed"), ("request_id", "id-1"), ("referer", "http://b/"), ("user_agent", "curl/8.5"),
    ]  # fmt: skip


def test_json_leaves_out_what_there_is_not() -> None:
    assert set(as_json(client=b"10.0.0.7", status=400)) == {
        "time", "client", "status", "bytes_in", "bytes_out", "duration_ms"
    }  # fmt: skip


def test_the_combined_format_is_that_of_apache_and_nginx() -> None:
    line = combined(
        client=b"10.0.0.7",
        method=b"GET",
        target=b"/x",
        minor=0,
        bytes_out=12,
        referer=b"http://b/",
        agent=b'a "quoted" one',
    )
    assert re.fullmatch(
        r"10\.0\.0\.7 - - \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000)\] "
        r'"GET /x HTTP/1\.0" 200 12 "http://b/" "a \\"quoted\\" one"\n',
        line,
    )


def test_the_combined_format_has_dashes_for_what_there_is_not() -> None:
    assert combined(status=408).endswith('] "-" 408 0 "-" "-"\n')
    assert combined().startswith("- - - [")


@pytest.mark.parametrize("format", FORMATS)
def test_the_time_is_now(format: str) -> None:
    line = line_of(format).decode()
    text = json.loads(line)["time"] if format == "json" else line.split("[")[1].split("]")[0]
    told = datetime.fromisoformat(text) if format == "json" else datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z")
    assert abs((datetime.now(UTC) - told).total_seconds()) < 5


@given(st.fixed_dictionaries(dict.fromkeys(TEXTS, anything)))
def test_json_gives_every_byte_back(facts: dict[str, bytes]) -> None:
    line = line_of("json", **facts)
    assert line.count(b"\n") == 1
    assert line.isascii()
    found = json.loads(line)
    for name, value in facts.items():
        assert found.get(KEYS.get(name, name), "").encode("latin-1") == value


@given(st.fixed_dictionaries(dict.fromkeys(TEXTS, anything)))
def test_the_combined_format_has_printable_text_only(facts: dict[str, bytes]) -> None:
    line = line_of("combined", **facts)
    assert re.fullmatch(rb"[ -~]+\n", line)
    quoted = rb'"((?:[^"\\]|\\.)*)"'
    found = re.fullmatch(rb".* \[.{26}\] " + quoted + rb" 200 0 " + quoted + b" " + quoted + rb"\n", line, re.S)
    assert found
    assert unescaped(found[3]) == (facts["agent"] or b"-")


def unescaped(text: bytes) -> bytes:
    return re.sub(rb"\\(x..|.)", lambda hit: bytes([int(hit[1][1:], 16)]) if len(hit[1]) > 1 else hit[1], text)


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_overlong_is_cut_so_that_a_line_fits(format: str) -> None:
    line = line_of(format, **dict.fromkeys(TEXTS, b"\x01" * 100_000))
    assert len(line) <= MOST_LINE
    assert line.endswith(b"\n")


def test_a_number_below_zero_counts_as_none() -> None:
    assert as_json(duration_ns=-5)["duration_ms"] == 0
    assert "upstream_ms" not in as_json(upstream_ns=-1)
    assert as_json(bytes_out=2**63 - 1)["bytes_out"] == 2**63 - 1
