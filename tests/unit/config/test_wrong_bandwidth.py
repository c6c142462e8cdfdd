"""Wrong bandwidth limits, with the line they name and the sentence they give; and what the right ones mean."""

from __future__ import annotations

import pytest

from shardproxy.config.bandwidth import BandwidthLimit, burst_bytes, table_places
from shardproxy.config.forms import write_byte_rate
from shardproxy.config.units import parse_byte_rate
from tests.unit.config.test_wrong_configurations import GOOD, Wrong, errors_of

OLD = "rate_limits:\n"
PLACE = "bandwidth_limits[0]"


def wrong(case: str, limit: str, sentence: str) -> Wrong:
    return Wrong(case, OLD, f"bandwidth_limits:\n  - {{name: slow, {limit}}}\n{OLD}", f"9: {PLACE}{sentence}")


WRONG = [
    wrong("neither way", "per_connection: true", ": needs down, up or both"),
    wrong("a key of a connection", "down: 1MiB/s, per_connection: true, key: client_ip",
          ".per_connection: is not for limits with a key"),
    wrong("a key of nothing", "down: 1MiB/s, key: {ipv4_prefix: 24}",
          ".key: needs client_ip, or header, cookie, query or path"),
    wrong("a rate that no table can hold", "up: 1GiB/s", ".up: is at most 500000KiB/s, unless per_connection"),
    wrong("a burst of less than a tick", "down: 1MiB/s, burst: 32KiB",
          ".burst: is too small for down: at least 52KiB, a twentieth of a second's worth"),
    wrong("a burst of too much", "down: 1MiB/s, burst: 17GiB", ".burst: is at most 16GiB"),
    wrong("next to nothing", "down: 100B/s", ".down: must be at least 1KiB/s, not 100B/s"),
    wrong("a size", "down: 1MiB",
          ".down: '1MiB' is not a bandwidth; write a size per second, such as 1MiB/s or 256KiB/s"),
    wrong("by the minute", "down: 1MiB/m",
          ".down: '1MiB/m' is not a bandwidth; write a size per second, such as 1MiB/s or 256KiB/s"),
    wrong("more than there is", "down: 2048GiB/s", ".down: '2048GiB/s' is not a bandwidth between 1B/s and 1024GiB/s"),
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=[wrong.case for wrong in WRONG])
def test_a_wrong_limit_gives_its_line_and_a_sentence(wrong: Wrong) -> None:
    assert wrong.old in GOOD
    assert errors_of(GOOD.replace(wrong.old, wrong.new)) == wrong.errors


def test_a_route_names_limits_that_there_are_and_each_once() -> None:
    text = GOOD.replace(OLD, "bandwidth_limits: [{name: slow, down: 1MiB/s}]\n" + OLD)
    for named, sentence in (
        ("slo", "there is no bandwidth limit 'slo'; did you mean 'slow'?"),
        ("slow, slow", "the bandwidth limit 'slow' is in this list twice"),
    ):
        wrong = text.replace("cluster: app}", f"cluster: app, bandwidth_limits: [{named}]}}")
        assert sentence in errors_of(wrong)


def test_a_bandwidth_is_written_as_it_is_read() -> None:
    for text, value in (("1MiB/s", 1 << 20), ("1.5KiB/s", 1536), ("1000B/s", 1000)):
        assert parse_byte_rate(text) == value
        assert parse_byte_rate(write_byte_rate(value)) == value


def test_a_burst_is_a_tenth_of_a_second_unless_it_is_written() -> None:
    assert burst_bytes(BandwidthLimit(name="a", down=1_000_000), 1_000_000) == 100_000
    assert burst_bytes(BandwidthLimit(name="a", down=2048), 2048) == 1024
    assert burst_bytes(BandwidthLimit(name="a", down=2048, burst=7777), 2048) == 7777


def test_one_bucket_for_all_needs_the_smallest_table() -> None:
    assert table_places(BandwidthLimit(name="a", down=1024)) == 16
