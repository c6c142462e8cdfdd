"""Durations, sizes, rates and addresses: how a user writes them and what they mean.

Every parser takes the text as it stands in the file and raises `ValueError` with a plain sentence
that says what was expected.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from decimal import Decimal

_DURATION_NS = {"ms": 1_000_000, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_SIZE_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_RATE_SECONDS = {"s": 1, "m": 60, "h": 3600}
_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_DURATION = re.compile(rf"{_NUMBER}(ms|s|m|h)")
_SIZE = re.compile(rf"{_NUMBER}(B|KiB|MiB|GiB|kB|MB|GB)")
_RATE = re.compile(rf"{_NUMBER}/(s|m|h)")
MAX_DURATION_NS = 365 * 24 * 3600 * 10**9
MAX_SIZE_BYTES = 1 << 50
MAX_BYTES_PER_S = 1 << 40
MAX_RATE_PER_S = 1e9
MIN_RATE_PER_S = 1e-6  # about one in eleven days


def parse_duration(text: str) -> int:
    """`250ms`, `15s`, `1.5m`, `1h` as whole nanoseconds (0 to one year)."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a duration; write a number and ms, s, m or h, such as 250ms or 15s")
    nanoseconds = Decimal(found[1]) * _DURATION_NS[found[2]]
    if nanoseconds > MAX_DURATION_NS:
        raise ValueError(f"{text!r} is longer than a year")
    return round(nanoseconds)


def parse_size(text: str) -> int:
    """`64KiB`, `1MiB`, `100MB`, `512B` as whole bytes (0 to 1 PiB)."""
    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a size; write a number and B, KiB, MiB or GiB, such as 64KiB")
    size = Decimal(found[1]) * _SIZE_BYTES[found[2]]
    if size > MAX_SIZE_BYTES:
        raise ValueError(f"{text!r} is larger than any size here may be ({MAX_SIZE_BYTES >> 30} GiB)")
    return round(size)


def parse_rate(text: str) -> float:
    """`1000/s`, `20/m`, `5/h` as events per second, from one in eleven days to a billion a second."""
    found = _RATE.fullmatch(text)
    if not found or Decimal(found[1]) == 0:
        raise ValueError(f"{text!r} is not a rate; write a number above 0 and /s, /m or /h, such as 1000/s")
    per_second = float(found[1]) / _RATE_SECONDS[found[2]]
    if not MIN_RATE_PER_S <= per_second <= MAX_RATE_PER_S:
        raise ValueError(f"{text!r} is not a rate between {MIN_RATE_PER_S:f}/s and {MAX_RATE_PER_S:.0f}/s")
    return per_second


def parse_byte_rate(text: str) -> int:
    """`1MiB/s`, `500kB/s` as whole bytes per second (1 to 1 TiB/s)."""
    size, slash, unit = text.partition("/")
    if unit != "s" or not _SIZE.fullmatch(size):
        raise ValueError(f"{text!r} is not a bandwidth; write a size per second, such as 1MiB/s or 256KiB/s")
    per_second = parse_size(size)
    if not 1 <= per_second <= MAX_BYTES_PER_S:
        raise ValueError(f"{text!r} is not a bandwidth between 1B/s and {MAX_BYTES_PER_S >> 30}GiB/s")
    return per_second


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or connect: a TCP host and port, or the path of a Unix socket.

    Exactly one of the two is set: `path` is empty for TCP, `host` is empty for a Unix socket.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_unix(self) -> bool:
        return bool(self.path)

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.host

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if self.is_ipv6 else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`127.0.0.1:8080`, `[::1]:8080` or `unix:/run/app.sock`.

    Names are not resolved here: an address is an IP literal, so that a check of the file needs no network.
    """
    if text.startswith("unix:"):
        if not text.isprintable():
            raise ValueError(f"{text!r} has characters in its path that are not printable")
        return _unix_address(text)
    host, colon, port_text = text.rpartition(":")
    if not colon or not host:
        raise ValueError(f"{text!r} is not an address; write 127.0.0.1:8080, [::1]:8080 or unix:/path")
    return Address(host=_ip_literal(host, text), port=_port(port_text, text))


def _unix_address(text: str) -> Address:
    path = text.removeprefix("unix:")
    if not path.startswith("/"):
        raise ValueError(f"{text!r} needs an absolute path, such as unix:/run/app.sock")
    if len(path.encode()) > 107:
        raise ValueError(f"{text!r} is longer than the 107 bytes that a Unix socket's path may have")
    return Address(path=path)


def _ip_literal(host: str, text: str) -> str:
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise ValueError(f"{text!r} does not begin with an IP address (IPv6 in brackets)") from None
    if (address.version == 6) != bracketed:
        raise ValueError(f"{text!r}: IPv6 addresses stand in brackets, IPv4 addresses do not")
    return str(address)


def _port(port_text: str, text: str) -> int:
    if not (port_text.isascii() and port_text.isdigit() and 0 < int(port_text) < 65536):
        raise ValueError(f"{text!r} needs a port from 1 to 65535 after the last colon")
    return int(port_text)
