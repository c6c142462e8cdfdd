"""The PROXY protocol: what is read, what is refused and when, and what is written."""

from __future__ import annotations

import pytest

from shardproxy.http1.proxy_protocol import Announced, header, scan

V4 = (b"192.0.2.1", 56324, b"198.51.100.7", 443)
V6 = (b"2001:db8::1", 1, b"2001:db8::2", 65535)
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
NOBODY = (b"", 0, b"", 0)


def v2(command: int, family: int, rest: bytes = b"", length: int | None = None) -> bytes:
    return SIGNATURE + bytes((command, family)) + (len(rest) if length is None else length).to_bytes(2, "big") + rest


V4_REST = bytes((192, 0, 2, 1, 198, 51, 100, 7)) + (56324).to_bytes(2, "big") + (443).to_bytes(2, "big")
V6_REST = bytes.fromhex("20010db8" + "00" * 11 + "01" + "20010db8" + "00" * 11 + "02" + "0001ffff")
TLV = b"\x04\x00\x02ab"

RIGHT = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", V4),
    (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", V6),
    (b"PROXY TCP4 0.0.0.0 255.255.255.255 0 0\r\n", (b"0.0.0.0", 0, b"255.255.255.255", 0)),
    (b"PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n", (b"::ffff:1.2.3.4", 1, b"::1", 2)),
    (b"PROXY UNKNOWN\r\n", NOBODY),
    (b"PROXY UNKNOWN ffff::1 whatever 1 2\r\n", NOBODY),
    (v2(0x21, 0x11, V4_REST), V4),
    (v2(0x21, 0x21, V6_REST), V6),
    (v2(0x21, 0x11, V4_REST + TLV + b"\x20\x00\x00"), V4),
    (v2(0x20, 0x00), NOBODY),
    (v2(0x20, 0x11, V4_REST), NOBODY),
    (v2(0x21, 0x00), NOBODY),
    (v2(0x21, 0x12, V4_REST), NOBODY),
    (v2(0x21, 0x31, bytes(216)), NOBODY),
]


@pytest.mark.parametrize(("data", "ends"), RIGHT)
def test_a_header_is_read_whole_in_pieces_and_with_a_request_behind_it(
    data: bytes, ends: tuple[bytes, int, bytes, int]
) -> None:
    expected = Announced(len(data), *ends)
    assert scan(data) == scan(data + b"GET / HTTP/1.1\r\n") == expected
    assert {scan(data[:size]) for size in range(len(data))} == {"need_more"}


WRONG = {
    "request at once": b"G",
    "request that begins like a header": b"PROXX",
    "lower case": b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    "another protocol": b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
    "double space": b"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
    "space at the end": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
    "bare line feed": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
    "IPv6 as TCP4": b"PROXY TCP4 ::1 ::1 1 2\r\n",
    "IPv4 as TCP6": b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
    "no address": b"PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n",
    "one address": b"PROXY TCP4 1.2.3.4 1 2\r\n",
    "no ports": b"PROXY TCP4 1.2.3.4 1.2.3.4\r\n",
    "port too large": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
    "port with a needless zero": b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
    "port with a sign": b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
    "unknown without a space": b"PROXY UNKNOWNS\r\n",
    "line too long": b"PROXY UNKNOWN " + b"x" * 100,
    "signature broken": SIGNATURE[:5] + b"\n",
    "another version": SIGNATURE + b"\x11",
    "another command": SIGNATURE + b"\x22",
    "too large": v2(0x21, 0x11, length=2049),
    "addresses cut": v2(0x21, 0x11, V4_REST[:-1]),
    "TLV cut": v2(0x21, 0x11, V4_REST + TLV[:-1]),
    "TLV head cut": v2(0x21, 0x11, V4_REST + TLV[:2]),
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refused(data: bytes) -> None:
    assert scan(data) == "bad_proxy_header"


def test_a_client_that_speaks_something_else_is_refused_at_its_first_wrong_byte() -> None:
    for right in (b"PROXY ", SIGNATURE):
        for size in range(len(right)):
            assert scan(right[:size] + b"\x7f") == "bad_proxy_header"


@pytest.mark.parametrize("ends", [V4, V6])
def test_what_is_written_is_read_again(ends: tuple[bytes, int, bytes, int]) -> None:
    for version in (1, 2):
        written = header(version, *ends)
        assert scan(written) == Announced(len(written), *ends)
    assert header(1, *V4) == b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n"
    assert header(2, *V4) == v2(0x21, 0x11, V4_REST)


def test_ends_of_two_families_are_both_written_as_ipv6() -> None:
    assert header(1, b"192.0.2.1", 1, b"::1", 2) == b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n"
    assert header(1, b"::ffff:192.0.2.1", 1, b"1.2.3.4", 2) == b"PROXY TCP4 192.0.2.1 1.2.3.4 1 2\r\n"


def test_ends_that_are_no_addresses_make_a_header_that_names_nobody() -> None:
    assert header(1, b"unknown", 0, b"unknown", 0) == b"PROXY UNKNOWN\r\n"
    assert header(2, b"unknown", 0, b"unknown", 0) == v2(0x20, 0x00)
