"""Units: what a user may write and the number it means; everything else is refused in a sentence."""

from __future__ import annotations

import pytest

from shardproxy.config.units import Address, parse_address, parse_duration, parse_rate, parse_size


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("250ms", 250_000_000), ("15s", 15 * 10**9), ("1.5m", 90 * 10**9), ("1h", 3600 * 10**9), ("0s", 0)],
)
def test_a_duration_becomes_nanoseconds(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "15", "s", "-1s", "1 s", "1d", "1e3s", "9000h", "\u0661s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration|year"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "size"), [("512B", 512), ("64KiB", 65536), ("1MiB", 1 << 20), ("2MB", 2_000_000)])
def test_a_size_becomes_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "64", "64K", "-1B", "1 MiB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@pytest.mark.parametrize(("text", "rate"), [("1000/s", 1000.0), ("120/m", 2.0), ("1800/h", 0.5)])
def test_a_rate_becomes_events_per_second(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "10", "0/s", "-1/s", "1/d", "s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="rate"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address(host="127.0.0.1", port=8080)),
        ("[::1]:80", Address(host="::1", port=80)),
        ("unix:/run/app.sock", Address(path="/run/app.sock")),
    ],
)
def test_an_address_reads_back_as_written(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    ["", "8080", ":8080", "::1:80", "[127.0.0.1]:80", "localhost:80", "127.0.0.1:0", "127.0.0.1:65536",
     "127.0.0.1:x", "unix:run.sock", "unix:/" + "x" * 200],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_address(text)
