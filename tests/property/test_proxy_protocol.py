"""The PROXY protocol on any input: what is written is read again, and a verdict, once given, stands.

Version 1 is compared with a model that sees the whole line at once and knows addresses from the standard library.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

from hypothesis import assume, event, example, given
from hypothesis import strategies as st

from shardproxy.http1.proxy_protocol import Announced, header, scan

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
NOBODY = (b"", 0, b"", 0)
Address = IPv4Address | IPv6Address

addresses = st.one_of(
    st.ip_addresses(), st.ip_addresses(v=4).map(lambda ip: IPv6Address(b"\0" * 10 + b"\xff\xff" + ip.packed))
)
ports = st.integers(0, 65535)
versions = st.sampled_from([1, 2])


def octets(ip: Address, family: int) -> bytes:
    """As an address of the family, which for IPv6 may be a mapped one."""
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else ip
    if family == 4:
        assert mapped is not None
        return mapped.packed
    return ip.packed if isinstance(ip, IPv6Address) else b"\0" * 10 + b"\xff\xff" + ip.packed


def is_ipv4(ip: Address) -> bool:
    return isinstance(ip, IPv4Address) or ip.ipv4_mapped is not None


@given(versions, addresses, ports, addresses, ports, st.binary(max_size=20))
def test_what_is_written_is_read_again_whatever_follows(
    version: int, source: Address, source_port: int, destination: Address, destination_port: int, behind: bytes
) -> None:
    written = header(version, str(source).encode(), source_port, str(destination).encode(), destination_port)
    found = scan(written + behind)
    assert isinstance(found, Announced)
    family = 4 if is_ipv4(source) and is_ipv4(destination) else 6
    event(f"IPv{family}")
    assert (found.size, found.source_port, found.destination_port) == (len(written), source_port, destination_port)
    assert ip_address(found.source.decode()).packed == octets(source, family)
    assert ip_address(found.destination.decode()).packed == octets(destination, family)
    assert {scan(written[:size]) for size in range(len(written))} == {"need_more"}


# Any bytes ---------------------------------------------------------------------------------------------------------

STRAYS = [
    b" ",
    b"\t",
    b"\0",
    b"\r",
    b"\n",
    b"\xff",
    b"0",
    b":",
    b".",
    b"%",
    b"+",
    b"UNKNOWN",
    b"TCP4 ",
    b"1.2.3.4 ",
    b"::1 ",
]
v4_texts = st.ip_addresses(v=4).map(str) | st.sampled_from(["0.0.0.0", "01.2.3.4", "1.2.3", "1.2.3.256"])
v6_texts = st.ip_addresses(v=6).map(lambda ip: ip.exploded) | st.sampled_from(
    ["::", "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8"]
)
port_texts = ports.map(str) | st.sampled_from(["0", "00", "080", "65536", ""])


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """Version 1: right, or with one wrong word, or with something cut out and something else put in."""
    address = draw(st.sampled_from([v4_texts, v6_texts]))
    family = "TCP4" if address is v4_texts else "TCP6"
    ends = [draw(address), draw(address), draw(port_texts), draw(port_texts)]
    words = ["PROXY", draw(st.sampled_from([family] * 4 + ["TCP4", "UNKNOWN"])), *ends]
    line = " ".join(words).encode() + b"\r\n"
    if draw(st.booleans()):
        at = draw(st.integers(0, len(line)))
        line = line[:at] + draw(st.sampled_from([*STRAYS, b""])) + line[at + draw(st.integers(0, 2)) :]
    return line + draw(st.binary(max_size=4))


@st.composite
def blocks(draw: st.DrawFn) -> bytes:
    """Version 2, right or nearly: any command and family, any block, a length that may differ from it."""
    tlvs = st.tuples(st.integers(0, 255), st.binary(max_size=8)).map(
        lambda tlv: bytes((tlv[0], 0, len(tlv[1]))) + tlv[1]
    )
    rest = draw(st.binary(min_size=12, max_size=12) | st.binary(max_size=40)) + b"".join(draw(st.lists(tlvs)))
    command = draw(st.sampled_from([0x21, 0x21, 0x20]) | st.integers(0, 255))
    family = draw(st.sampled_from([0x11, 0x21, 0x12, 0x31, 0x00]) | st.integers(0, 255))
    length = draw(st.just(len(rest)) | st.integers(0, 65535))
    return SIGNATURE + bytes((command, family)) + length.to_bytes(2, "big") + rest + draw(st.binary(max_size=4))


@given(st.binary(max_size=200) | lines() | blocks())
def test_a_verdict_stands_whatever_follows_and_needs_no_byte_behind_the_header(data: bytes) -> None:
    verdicts = [scan(data[:size]) for size in range(len(data) + 1)]
    waited = verdicts.count("need_more")
    assert set(verdicts[:waited]) == {"need_more"}
    assert len(set(verdicts[waited:])) <= 1
    found = verdicts[-1]
    event(found if isinstance(found, str) else "read")
    if isinstance(found, Announced):
        assert found.size == waited <= 16 + 2048
        assert data.startswith((b"PROXY ", SIGNATURE))


@given(st.binary(min_size=1))
def test_what_begins_with_neither_signature_is_refused(data: bytes) -> None:
    assume(not any(right.startswith(data[: len(right)]) for right in (b"PROXY ", SIGNATURE)))
    assert scan(data) == "bad_proxy_header"


# Version 1 against a model -----------------------------------------------------------------------------------------

LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?|TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9]\d*) (0|[1-9]\d*))\r\n"
)


def modelled(data: bytes) -> Announced | None:
    """What a line says, or `None` when it is no header (or not complete)."""
    match = LINE.match(data[:107])
    if match is None or match[1] is None:
        return match and Announced(match.end(), *NOBODY)
    kind = IPv4Address if match[1] == b"4" else IPv6Address
    try:
        source, destination = kind(match[2].decode()), kind(match[3].decode())
    except ValueError:
        return None
    if max(int(match[4]), int(match[5])) > 65535:
        return None
    return Announced(match.end(), source.packed, int(match[4]), destination.packed, int(match[5]))


def packed(text: bytes) -> bytes:
    return ip_address(text.decode()).packed if text else b""


@given(lines())
@example(b"PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n")
@example(b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n")
@example(b"PROXY TCP6 ::1.2.3.4 1::1.2.3.4 1 2\r\n")
@example(b"PROXY UNKNOWN" + b" " * 92 + b"\r\n")
@example(b"PROXY UNKNOWN" + b" " * 93 + b"\r\n")
def test_a_line_is_read_as_the_model_reads_it(data: bytes) -> None:
    found = scan(data)
    expected = modelled(data)
    event("read" if expected else "not read")
    if isinstance(found, Announced):
        found = found._replace(source=packed(found.source), destination=packed(found.destination))
        assert found == expected
    else:
        assert expected is None
        assert found == "bad_proxy_header" or b"\r\n" not in data


# Version 2 ---------------------------------------------------------------------------------------------------------


@given(blocks())
def test_a_local_connection_is_accepted_whatever_its_block_is(data: bytes) -> None:
    length = int.from_bytes(data[14:16], "big")
    assume(length <= 2048)
    local = data[:12] + b"\x20" + data[13:]
    assert scan(local) == (Announced(16 + length, *NOBODY) if len(local) >= 16 + length else "need_more")


# haproxy 2.6.12 sent this, with `proxy-v2-options crc32c,unique-id`.
CHECKED = SIGNATURE + bytes.fromhex("211100207f0000017f000001bdba4953030004da25898805000a") + b"id-17762-0"
CHECKSUM_TYPE = 16 + 12  # another type makes it another TLV, which nobody checks


@given(st.integers(16, len(CHECKED) - 1).filter(lambda at: at != CHECKSUM_TYPE), st.integers(1, 255))
def test_a_change_that_the_checksum_covers_is_refused(at: int, flipped: int) -> None:
    assert scan(CHECKED) == Announced(48, b"127.0.0.1", 48570, b"127.0.0.1", 18771)
    changed = bytearray(CHECKED)
    changed[at] ^= flipped
    assert scan(bytes(changed)) == "bad_proxy_header"
