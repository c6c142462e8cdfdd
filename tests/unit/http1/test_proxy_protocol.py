"""The PROXY protocol: what is read, what is refused and when, what is written; and a real haproxy's opinion."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shardproxy.http1.proxy_protocol import Announced, header, scan

V4 = (b"192.0.2.1", 56324, b"198.51.100.7", 443)
V6 = (b"2001:db8::1", 1, b"2001:db8::2", 65535)
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
NOBODY = (b"", 0, b"", 0)
REQUEST = b"GET / HTTP/1.1\r\n"


def v2(command: int, family: int, rest: bytes = b"", length: int | None = None) -> bytes:
    return SIGNATURE + bytes((command, family)) + (len(rest) if length is None else length).to_bytes(2, "big") + rest


def line(words: bytes) -> bytes:
    return b"PROXY " + words + b"\r\n"


V4_REST = bytes((192, 0, 2, 1, 198, 51, 100, 7)) + (56324).to_bytes(2, "big") + (443).to_bytes(2, "big")
V6_REST = bytes.fromhex("20010db8" + "00" * 11 + "01" + "20010db8" + "00" * 11 + "02" + "0001ffff")
TLV = b"\x04\x00\x02ab"
LONGEST_V6 = b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"


def crc32c(data: bytes) -> int:
    """The reference that ours is compared with: by the definition, as the remainder of a polynomial division."""
    polynomial, size = 0x11EDC6F41, 8 * len(data)
    message = int("".join(f"{byte:08b}"[::-1] for byte in data), 2) << 32
    rest = message ^ (0xFFFFFFFF << size)
    for bit in range(size + 31, 31, -1):
        if rest >> bit & 1:
            rest ^= polynomial << (bit - 32)
    return int(f"{rest ^ 0xFFFFFFFF:032b}"[::-1], 2)


def checked(family: int, rest: bytes, behind: bytes = b"") -> bytes:
    """A version 2 header with a right checksum."""
    start = v2(0x21, family, rest + b"\x03\x00\x04", len(rest) + 7 + len(behind))
    return start + crc32c(start + bytes(4) + behind).to_bytes(4, "big") + behind


def test_the_reference_of_the_checksum_gives_the_value_that_everybody_knows() -> None:
    assert crc32c(b"123456789") == 0xE3069283


# What is read ------------------------------------------------------------------------------------------------------

RIGHT = {
    "TCP4": (line(b"TCP4 192.0.2.1 198.51.100.7 56324 443"), V4),
    "TCP6": (line(b"TCP6 2001:db8::1 2001:db8::2 1 65535"), V6),
    "TCP6 in capitals": (line(b"TCP6 2001:DB8:0::1 2001:DB8::2 1 65535"), V6),
    "the smallest and largest numbers": (
        line(b"TCP4 0.0.0.0 255.255.255.255 0 65535"),
        (b"0.0.0.0", 0, b"255.255.255.255", 65535),
    ),
    "the longest TCP6": (line(b"TCP6 %s %s 65535 65535" % (LONGEST_V6, LONGEST_V6)), (LONGEST_V6, 65535) * 2),
    "a mapped address": (line(b"TCP6 ::ffff:1.2.3.4 ::1 1 2"), (b"::ffff:1.2.3.4", 1, b"::1", 2)),
    "UNKNOWN": (b"PROXY UNKNOWN\r\n", NOBODY),
    "UNKNOWN and something": (line(b"UNKNOWN ffff::1 whatever \0 \xff 1 2 "), NOBODY),
    "the longest line": (line(b"UNKNOWN %s %s 65535 65535" % (LONGEST_V6, LONGEST_V6)), NOBODY),
    "v2 TCP4": (v2(0x21, 0x11, V4_REST), V4),
    "v2 TCP6": (v2(0x21, 0x21, V6_REST), V6),
    "v2 with TLVs": (v2(0x21, 0x11, V4_REST + TLV + b"\x20\x00\x00"), V4),
    "v2 with a checksum": (checked(0x11, V4_REST), V4),
    "v2 with a checksum between TLVs": (checked(0x21, V6_REST + TLV, TLV), V6),
    "v2 as large as allowed": (v2(0x21, 0x11, V4_REST + b"\x04\x07\xf1" + bytes(2033)), V4),
    "LOCAL": (v2(0x20, 0x00), NOBODY),
    "LOCAL with addresses": (v2(0x20, 0x11, V4_REST), NOBODY),
    "LOCAL, whose block and family mean nothing": (v2(0x20, 0xFF, b"\x03\xff"), NOBODY),
    "unspecified": (v2(0x21, 0x00), NOBODY),
    "unspecified family with a block": (v2(0x21, 0x01, b"\x01"), NOBODY),
    "unspecified protocol with a block": (v2(0x21, 0x20, b"\x01"), NOBODY),
    "UDP4": (v2(0x21, 0x12, V4_REST), NOBODY),
    "UDP6 with a checksum": (checked(0x22, V6_REST), NOBODY),
    "Unix stream": (v2(0x21, 0x31, bytes(216)), NOBODY),
    "Unix datagram with a TLV": (v2(0x21, 0x32, bytes(216) + TLV), NOBODY),
}


@pytest.mark.parametrize(("data", "ends"), RIGHT.values(), ids=RIGHT)
def test_a_header_is_read_whole_in_pieces_and_with_a_request_behind_it(
    data: bytes, ends: tuple[bytes, int, bytes, int]
) -> None:
    expected = Announced(len(data), *ends)
    assert scan(data) == scan(data + REQUEST) == scan(data + data) == expected
    assert {scan(data[:size]) for size in range(len(data))} == {"need_more"}


def test_the_longest_line_has_as_many_bytes_as_the_specification_says() -> None:
    assert len(RIGHT["the longest line"][0]) == 107
    assert len(RIGHT["the longest TCP6"][0]) == 104


# What is refused ---------------------------------------------------------------------------------------------------

WRONG = {  # what is right so far, and the piece that is wrong
    "a request at once": (b"", b"G"),
    "a request that begins like a header": (b"P", b"O"),
    "TLS at once": (b"", b"\x16"),
    "lower case": (b"", b"p"),
    "a tab": (b"PROXY", b"\t"),
    "two spaces": (b"PROXY ", b" "),
    "another protocol": (b"PROXY ", b"D"),
    "no protocol": (b"PROXY ", b"\r"),
    "another family": (b"PROXY TCP", b"5"),
    "two spaces before the source": (b"PROXY TCP4 ", b" "),
    "two spaces before the destination": (b"PROXY TCP4 1.2.3.4 ", b" "),
    "two spaces before a port": (b"PROXY TCP4 1.2.3.4 1.2.3.4 ", b" "),
    "a space at the end": (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2", b" "),
    "a line feed alone": (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2", b"\n"),
    "a carriage return alone": (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r", b"G"),
    "IPv6 as TCP4": (b"PROXY TCP4 ", b":"),
    "IPv4 as TCP6": (b"PROXY TCP6 1.2.3.4", b" "),
    "a name": (b"PROXY TCP4 ", b"l"),
    "a zone": (b"PROXY TCP6 fe80::1", b"%"),
    "brackets": (b"PROXY TCP6 ", b"["),
    "a NUL behind an address": (b"PROXY TCP4 1.2.3.4", b"\0"),
    "an octet too large": (b"PROXY TCP4 1.2.3.256", b" "),
    "an octet with a needless zero": (b"PROXY TCP4 1.2.3.04", b" "),
    "an address of three octets": (b"PROXY TCP4 1.2.3", b" "),
    "an IPv4 address too long": (b"PROXY TCP4 255.255.255.255", b"5"),
    "an IPv6 address of nine groups": (b"PROXY TCP6 1:2:3:4:5:6:7:8:9", b" "),
    "an IPv6 address with two gaps": (b"PROXY TCP6 1::2::3", b" "),
    "an IPv6 address too long": (b"PROXY TCP6 " + b"1" * 45, b"1"),
    "one address": (b"PROXY TCP4 1.2.3.4 1", b" "),
    "no ports": (b"PROXY TCP4 1.2.3.4 1.2.3.4", b"\r"),
    "one port": (b"PROXY TCP4 1.2.3.4 1.2.3.4 1", b"\r"),
    "an empty port": (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 ", b"\r"),
    "a port too large": (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 6553", b"6"),
    "a port with a needless zero": (b"PROXY TCP4 1.2.3.4 1.2.3.4 0", b"1"),
    "a port of two zeros": (b"PROXY TCP4 1.2.3.4 1.2.3.4 0", b"0"),
    "a port with a sign": (b"PROXY TCP4 1.2.3.4 1.2.3.4 ", b"+"),
    "a third port": (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2", b" "),
    "UNKNOWN without a space": (b"PROXY UNKNOWN", b"S"),
    "UNKNOWN and a line feed alone": (b"PROXY UNKNOWN x", b"\n"),
    "UNKNOWN and a carriage return alone": (b"PROXY UNKNOWN x\r", b"x"),
    "a line too long": (b"PROXY UNKNOWN " + b"x" * 92, b"x"),
    "a line that ends one byte too late": (b"PROXY UNKNOWN " + b"x" * 92, b"\r\n"),
    "a broken signature": (SIGNATURE[:5], b"\n"),
    "another version": (SIGNATURE, b"\x11"),
    "another command": (SIGNATURE, b"\x22"),
    "another family in v2": (SIGNATURE + b"\x21", b"\x41"),
    "another protocol in v2": (SIGNATURE + b"\x21", b"\x13"),
    "much too large": (SIGNATURE + b"\x21\x11", b"\x09"),
    "too large": (SIGNATURE + b"\x21\x11\x08", b"\x01"),
    "LOCAL too large": (SIGNATURE + b"\x20\x00\x08", b"\x01"),
    "IPv4 addresses cut": (SIGNATURE + b"\x21\x11\x00", b"\x0b"),
    "IPv6 addresses cut": (SIGNATURE + b"\x21\x21\x00", b"\x23"),
    "Unix addresses cut": (SIGNATURE + b"\x21\x31\x00", b"\xd7"),
    "a TLV cut": (v2(0x21, 0x11, V4_REST + TLV[:-2], 16), TLV[-2:-1]),
    "the head of a TLV cut": (v2(0x21, 0x11, V4_REST + TLV[:1], 14), TLV[1:2]),
    "a TLV cut behind Unix addresses": (v2(0x21, 0x31, bytes(216), 217), b"\x04"),
    "a wrong checksum": (checked(0x11, V4_REST)[:-1], bytes([checked(0x11, V4_REST)[-1] ^ 1])),
    "a checksum of three bytes": (v2(0x21, 0x11, V4_REST + b"\x03\x00\x03ab", 18), b"c"),
    "two checksums": (checked(0x11, V4_REST, b"\x03\x00\x04abcd")[:-1], b"d"),
}


@pytest.mark.parametrize(("right", "wrong"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refused_as_soon_as_it_is_there_and_for_good(right: bytes, wrong: bytes) -> None:
    assert {scan(right[:size]) for size in range(len(right) + 1)} == {"need_more"}
    assert scan(right + wrong) == scan(right + wrong + REQUEST) == "bad_proxy_header"


def test_a_client_that_speaks_something_else_is_refused_at_its_first_wrong_byte() -> None:
    for right in (b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN", SIGNATURE):
        for size in range(len(right)):
            assert scan(right[:size] + b"\x7f") == "bad_proxy_header"


# What is written ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [V4, V6])
def test_what_is_written_is_read_again(ends: tuple[bytes, int, bytes, int]) -> None:
    for version in (1, 2):
        written = header(version, *ends)
        assert scan(written) == Announced(len(written), *ends)


def test_what_is_written_is_what_the_specification_shows() -> None:
    assert header(1, b"192.168.0.1", 56324, b"192.168.0.11", 443) == line(b"TCP4 192.168.0.1 192.168.0.11 56324 443")
    assert header(1, *V6) == line(b"TCP6 2001:db8::1 2001:db8::2 1 65535")
    assert header(2, *V4) == v2(0x21, 0x11, V4_REST)
    assert header(2, *V6) == v2(0x21, 0x21, V6_REST)


def test_ends_of_two_families_are_both_written_as_ipv6() -> None:
    assert header(1, b"192.0.2.1", 1, b"::1", 2) == line(b"TCP6 ::ffff:192.0.2.1 ::1 1 2")
    assert header(1, b"::1", 1, b"192.0.2.1", 2) == line(b"TCP6 ::1 ::ffff:192.0.2.1 1 2")
    assert scan(header(2, b"::1", 1, b"192.0.2.1", 2)) == Announced(52, b"::1", 1, b"::ffff:192.0.2.1", 2)


def test_a_mapped_address_is_written_as_ipv4_when_the_other_end_is_one_too() -> None:
    assert header(1, b"::ffff:192.0.2.1", 1, b"1.2.3.4", 2) == line(b"TCP4 192.0.2.1 1.2.3.4 1 2")
    assert header(1, b"::ffff:192.0.2.1", 1, b"::ffff:1.2.3.4", 2) == line(b"TCP4 192.0.2.1 1.2.3.4 1 2")
    assert header(1, b"::ffff:192.0.2.1", 1, b"::1", 2) == line(b"TCP6 ::ffff:192.0.2.1 ::1 1 2")


@pytest.mark.parametrize(
    "ends",
    [
        (b"unknown", 0, b"unknown", 0),
        (b"", 0, b"", 0),
        (b"unknown", 0, b"192.0.2.1", 1),
        (b"192.0.2.1", 1, b"unknown", 0),
        (b"/run/app.sock", 0, b"192.0.2.1", 1),
        (b"fe80::1%eth0", 1, b"fe80::2%eth0", 1),
        (b"192.0.2.1", 65536, b"192.0.2.1", 1),
        (b"192.0.2.1", 1, b"192.0.2.1", -1),
    ],
)
def test_ends_that_are_no_addresses_and_ports_make_a_header_that_names_nobody(
    ends: tuple[bytes, int, bytes, int],
) -> None:
    assert header(1, *ends) == b"PROXY UNKNOWN\r\n"
    assert header(2, *ends) == v2(0x20, 0x00)


# haproxy -----------------------------------------------------------------------------------------------------------

HAPROXY = """
global
    maxconn 20
defaults
    mode {mode}
    timeout connect 5s
    timeout client 5s
    timeout server 5s
listen peer
    bind fd@{listening} {bind}
    {rule}
"""
needs_haproxy = pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")


@contextmanager
def haproxy(folder: Path, listening: socket.socket, **words: str) -> Iterator[None]:
    """A haproxy that accepts on a socket of ours: clients may connect before it is up."""
    file = folder / "haproxy.cfg"
    file.write_text(HAPROXY.format(listening=listening.fileno(), **words))
    command = ["haproxy", "-db", "-f", str(file)]
    process = subprocess.Popen(command, pass_fds=[listening.fileno()], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def listener(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.create_server((host, 0), family=family)
    made.settimeout(10)
    return made


def ends_of(client: socket.socket) -> tuple[bytes, int, bytes, int]:
    here, there = client.getsockname(), client.getpeername()
    return here[0].encode(), here[1], there[0].encode(), there[1]


@needs_haproxy
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize(
    "sends", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c", "send-proxy-v2-ssl"]
)
def test_what_haproxy_sends_is_read(sends: str, host: str, tmp_path: Path) -> None:
    with listener(host) as front, listener("127.0.0.1") as origin:
        rule = f"server us 127.0.0.1:{origin.getsockname()[1]} {sends}"
        with (
            haproxy(tmp_path, front, mode="tcp", bind="", rule=rule),
            socket.create_connection(front.getsockname()[:2], timeout=10) as client,
        ):
            client.sendall(REQUEST)
            accepted, _ = origin.accept()
            with accepted, accepted.makefile("rb") as stream:
                data = b""
                while scan(data) == "need_more":
                    data += stream.read(1)
                assert scan(data) == Announced(len(data), *ends_of(client))
                assert stream.read(len(REQUEST)) == REQUEST


@needs_haproxy
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("ends", [V4, V6])
def test_what_is_written_is_accepted_by_haproxy(
    ends: tuple[bytes, int, bytes, int], version: int, tmp_path: Path
) -> None:
    rule = "http-request return status 200 content-type text/plain lf-string '%[src] %[src_port] %[dst] %[dst_port]'"
    with (
        listener("127.0.0.1") as front,
        haproxy(tmp_path, front, mode="http", bind="accept-proxy", rule=rule),
        socket.create_connection(front.getsockname(), timeout=10) as client,
        client.makefile("rb") as stream,
    ):
        client.sendall(header(version, *ends) + REQUEST + b"Host: a.test\r\nConnection: close\r\n\r\n")
        answer = stream.read()
    assert answer.endswith(b"\r\n\r\n%s %d %s %d" % ends)
