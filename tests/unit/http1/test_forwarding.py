"""Who the client is, given what the proxies in front of us have written."""

from __future__ import annotations

import pytest

from shardproxy.http1.forwarding import TrustedProxies
from shardproxy.http1.head import Head
from shardproxy.http1.splice import forwarded_request

NETWORKS = ("10.0.0.0/8", "192.0.2.128/25", "2001:db8::/33")


def head(*fields: bytes) -> Head:
    read = Head()
    assert read.read(b"\r\n".join((b"GET / HTTP/1.1", b"Host: a.test:80", *fields, b"", b""))) == "ok"
    return read


@pytest.mark.parametrize(
    ("peer", "is_trusted"),
    [
        (b"10.255.255.255", True),
        (b"11.0.0.0", False),
        (b"192.0.2.128", True),
        (b"192.0.2.127", False),
        (b"2001:db8:7fff::1", True),
        (b"2001:db8:8000::1", False),
        (b"::ffff:10.1.2.3", True),
        (b"unknown", False),
        (b"", False),
    ],
)
def test_a_peer_is_trusted_when_one_of_the_networks_has_it(peer: bytes, is_trusted: bool) -> None:
    assert TrustedProxies(NETWORKS).trusts(peer) is is_trusted


def test_every_network_of_both_families_ends_at_its_last_bit() -> None:
    for prefix in range(33):
        assert TrustedProxies([f"0.0.0.0/{prefix}"]).trusts(b"0.0.0.0")
        assert not TrustedProxies([f"128.0.0.0/{max(prefix, 1)}"]).trusts(b"0.0.0.0")
    assert not TrustedProxies(["192.0.2.4/31"]).trusts(b"192.0.2.6")
    assert not TrustedProxies(["::4/127"]).trusts(b"::6")
    assert TrustedProxies(["::/0"]).trusts(b"::6") and not TrustedProxies(["::/0"]).trusts(b"1.2.3.4")


@pytest.mark.parametrize(
    ("fields", "peer", "client"),
    [
        ((b"X-Forwarded-For: 203.0.113.9",), b"198.51.100.1", b"198.51.100.1"),
        ((b"X-Forwarded-For: 203.0.113.9",), b"10.0.0.1", b"203.0.113.9"),
        ((b"X-Forwarded-For: 1.1.1.1, 203.0.113.9, 10.1.1.1",), b"10.0.0.1", b"203.0.113.9"),
        ((b"X-Forwarded-For: 203.0.113.9", b"X-Forwarded-For: 10.1.1.1"), b"10.0.0.1", b"203.0.113.9"),
        ((b"X-Forwarded-For: 10.3.3.3, 10.2.2.2",), b"10.0.0.1", b"10.3.3.3"),
        ((b"X-Forwarded-For: 203.0.113.9,,\t10.1.1.1 ,",), b"10.0.0.1", b"203.0.113.9"),
        ((b"X-Forwarded-For: 203.0.113.9:4711",), b"10.0.0.1", b"203.0.113.9"),
        ((b"X-Forwarded-For: [2001:db8:8000::1]:4711",), b"10.0.0.1", b"2001:db8:8000::1"),
        ((b"X-Forwarded-For: 2001:db8:8000::1",), b"2001:db8::1", b"2001:db8:8000::1"),
        ((b"X-Forwarded-For: 203.0.113.9, evil, 10.1.1.1",), b"10.0.0.1", b"10.1.1.1"),
        ((b"X-Forwarded-For: unknown",), b"10.0.0.1", b"10.0.0.1"),
        ((b"X-Forwarded-For: :",), b"10.0.0.1", b"10.0.0.1"),
        ((b"X-Forwarded-For: [",), b"10.0.0.1", b"10.0.0.1"),
        ((b"X-Forwarded-For:",), b"10.0.0.1", b"10.0.0.1"),
        ((), b"10.0.0.1", b"10.0.0.1"),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_none_of_ours(
    fields: tuple[bytes, ...], peer: bytes, client: bytes
) -> None:
    assert TrustedProxies(NETWORKS).client_of(head(*fields), peer) == client


@pytest.mark.parametrize(
    ("hops", "client"),
    [(1, b"10.1.1.1"), (2, b"203.0.113.9"), (3, b"1.1.1.1"), (4, b"198.51.100.1")],
)
def test_of_n_proxies_the_first_wrote_the_nth_entry_from_the_right(hops: int, client: bytes) -> None:
    read = head(b"X-Forwarded-For: 1.1.1.1, 203.0.113.9, 10.1.1.1")
    proxies = TrustedProxies(hops=hops)
    assert proxies.trusts(b"198.51.100.1")
    assert proxies.client_of(read, b"198.51.100.1") == client


def test_a_text_that_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        TrustedProxies(["example.com"])


CAME = (b"X-Forwarded-For: 203.0.113.9", b"X-Forwarded-Proto: https", b"X-Forwarded-Host: b.test")


def test_what_a_trusted_proxy_says_goes_on_with_our_entry_behind_it() -> None:
    onward = forwarded_request(head(*CAME), belief="trusted")
    assert b"X-Forwarded-For: 203.0.113.9, 192.0.2.1\r\n" in onward
    assert b"X-Forwarded-Proto: https\r\nX-Forwarded-Host: b.test\r\n" in onward


def test_what_a_stranger_says_is_replaced() -> None:
    onward = forwarded_request(head(*CAME), belief="replaced")
    assert b"203.0.113.9" not in onward and b"https" not in onward and b"b.test" not in onward
    assert b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.test:80\r\n" in onward


def test_without_trusted_proxies_entries_are_added_to_and_nothing_is_believed() -> None:
    onward = forwarded_request(head(*CAME))
    assert b"X-Forwarded-For: 203.0.113.9, 192.0.2.1\r\nX-Forwarded-Proto: http\r\n" in onward


@pytest.mark.parametrize(
    ("peer", "element"),
    [
        (b"192.0.2.1", b'for=192.0.2.1;host="a.test:80";proto=http'),
        (b"2001:db8::1", b'for="[2001:db8::1]";host="a.test:80";proto=http'),
        (b"unknown", b'for=unknown;host="a.test:80";proto=http'),
    ],
)
def test_forwarded_names_the_peer_the_host_and_the_scheme(peer: bytes, element: bytes) -> None:
    onward = forwarded_request(head(), peer=peer, forwarded=True)
    assert b"\r\nForwarded: " + element + b"\r\n" in onward


def test_the_field_for_the_clients_address_is_added() -> None:
    onward = forwarded_request(head(), client_field=b"X-Real-IP", client=b"203.0.113.9")
    assert onward.count(b"\r\nX-Real-IP: 203.0.113.9\r\n") == 1
