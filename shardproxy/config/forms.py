"""Forms: what one word of the file may look like, how it is read, and how it is written back.

A field of the schema names its form (`Meta(extra={"form": DURATION})`); reading, `to_plain`, the JSON Schema and the
reference all follow from it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import re2

from shardproxy.config import stores, units

MAX_NAME = 64
MAX_HOST = 253
MAX_PATH = 4096
MAX_SUBSTRING = 1024
MAX_PARAMETERS = 8

_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_LABELS = r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
_HOST = rf"(\*\.)?{_LABELS}|{_LABELS}\.\*|\[[0-9a-fA-F:.]+\]"
_PATH = r"/([A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*"
_USER = r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?"
_STATUSES = r"([1-5][0-9]{2})(-([1-5][0-9]{2}))?"
_LABEL = r"[A-Za-z0-9\-._/]+=[A-Za-z0-9\-._/]+"
_TOKEN = r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+"


@dataclass(frozen=True)
class Form:
    """One way of writing a value.

    `parse` takes the text and raises `ValueError` with a plain sentence; `write` is its inverse. `pattern` is for
    editors: it says the same in a regular expression, perhaps less strictly.
    """

    word: str
    parse: Callable[[str], Any]
    write: Callable[[Any], str]
    pattern: str
    examples: tuple[str, ...]

    @property
    def noun(self) -> str:
        """`an address`, `a size`."""
        return f"an {self.word}" if self.word[0] in "aeiou" else f"a {self.word}"


def parse_name(text: str) -> str:
    """A name of at most 64 letters, digits, `_`, `.` and `-`, beginning with a letter or digit."""
    if len(text) > MAX_NAME:
        raise ValueError(f"a name has at most {MAX_NAME} characters, this one has {len(text)}")
    if not re.fullmatch(_NAME, text):
        raise ValueError(f"{text!r} is not a name; use letters, digits, '_', '.' and '-', a letter or digit first")
    return text


def parse_listener_name(text: str) -> str:
    """A name, or an address: what a listener without a name is called."""
    if ":" not in text:
        return parse_name(text)
    return str(units.parse_address(text))


def parse_host(text: str) -> str:
    """`api.example.com`, `*.example.com` (any that ends so), `api.*` (any that begins so) or an IP address; no port."""
    if len(text) > MAX_HOST or not re.fullmatch(_HOST, text):
        raise ValueError(f"{text!r} is not a host; write api.example.com or *.example.com, without a port")
    return text.lower()


def parse_path(text: str) -> str:
    """A path as it stands in a request: begins with `/`, ASCII only, the rest percent-encoded, no query."""
    if not text.startswith("/"):
        raise ValueError(f"{text!r} does not begin with '/'")
    if len(text) > MAX_PATH:
        raise ValueError(f"a path has at most {MAX_PATH} characters, this one has {len(text)}")
    if not re.fullmatch(_PATH, text):
        raise ValueError(f"{text!r} has a character that no path of a request has; percent-encode it, such as %20")
    return text


def parse_template(text: str) -> str:
    """A path in which `{name}` stands for any one segment: `/users/{id}/posts`."""
    names = re.findall(r"\{([^}]*)\}", text)
    for name in names:
        if not re.fullmatch(_NAME, name):
            raise ValueError(f"{{{name}}} has no name that can be used; write {{id}}")
        if names.count(name) > 1:
            raise ValueError(f"{{{name}}} is there twice; give each its own name")
    if len(names) > MAX_PARAMETERS:
        raise ValueError(f"a template has at most {MAX_PARAMETERS} names in braces, this one has {len(names)}")
    whole = re.sub(r"(?<=/)\{[^}]*\}(?=/|$)", "x", text)
    if "{" in whole or "}" in whole:
        raise ValueError(f"{text!r} needs braces around whole segments: /users/{{id}}")
    parse_path(whole)
    return text


def parse_pattern(text: str) -> str:
    """A regular expression in RE2's syntax (which has no back references), at most 1024 characters."""
    if len(text) > MAX_SUBSTRING:
        raise ValueError(f"a pattern has at most {MAX_SUBSTRING} characters, this one has {len(text)}")
    try:
        re2.compile(text.encode())
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
        raise ValueError(f"{text!r} is not a pattern: {reason}") from None
    return text


def parse_share(text: str) -> int:
    """A share in percent, to 0.0001, as millionths: `5%`, `0.5%`."""
    found = re.fullmatch(r"([0-9]{1,3})(\.([0-9]{1,4}))?%", text)
    if not found:
        raise ValueError(f"{text!r} is not a share; write 5% or 0.5%")
    millionths = int(found[1]) * 10_000 + int((found[3] or "").ljust(4, "0"))
    if not 0 < millionths <= 1_000_000:
        raise ValueError("a share is more than 0% and at most 100%")
    return millionths


def write_share(millionths: int) -> str:
    """The shortest exact form."""
    whole, rest = divmod(millionths, 10_000)
    return f"{whole}.{rest:04}".rstrip("0").rstrip(".") + "%"


def parse_token(text: str) -> str:
    """A pseudonym for the Via field, or the name of a field: an RFC 9110 token."""
    if len(text) > MAX_NAME or not re.fullmatch(_TOKEN, text):
        raise ValueError(
            f"{text!r} cannot stand in a header field; write one word of letters, digits, '-', '.' and '_'"
        )
    return text


def parse_label(text: str) -> str:
    """A name and what it says of an endpoint, such as `version=v2`."""
    if len(text) > MAX_NAME or not re.fullmatch(_LABEL, text):
        raise ValueError(f"{text!r} is no label; write version=v2, with letters, digits, '-', '.', '_' and '/'")
    return text


def parse_network(text: str) -> str:
    """Addresses in CIDR notation, such as `10.0.0.0/8`; an address alone stands for itself."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        wider = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not a network; write 10.0.0.0/8, 192.0.2.1 or 2001:db8::/32") from None
    raise ValueError(f"{text!r} has bits behind its prefix; the network is {wider}")


def parse_user(text: str) -> str:
    """A user, or a user and a group with `:` between; whether they exist is seen at the start."""
    if not re.fullmatch(_USER, text):
        raise ValueError(f"{text!r} is not a user; write proxy or proxy:proxy")
    return text


def parse_file(text: str) -> str:
    """A file by its full path."""
    if not text.startswith("/") or "\0" in text:
        raise ValueError(f"{text!r} is not the full path of a file; write /run/shardproxy.pid")
    return text


def parse_statuses(text: str) -> str:
    """A status of a response, or the first and the last of a range: `200`, `200-299`."""
    found = re.fullmatch(_STATUSES, text)
    if not found or int(found[1]) > int(found[3] or found[1]):
        raise ValueError(f"{text!r} is not a status or a range of them; write 200 or 200-299")
    return text


def status_range(text: str) -> range:
    """What `parse_statuses` has let through, as the numbers it stands for."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def parse_text(text: str) -> str:
    """Printable text of at most 1024 characters."""
    if len(text) > MAX_SUBSTRING or not text.isprintable():
        raise ValueError(f"this needs printable text of at most {MAX_SUBSTRING} characters")
    return text


def parse_protocol(text: str) -> str:
    """A protocol of the Upgrade field without a version, lower case; `h2c` is refused (RFC 9113, section 3.1)."""
    if len(text) > MAX_NAME or not re.fullmatch(_TOKEN, text):
        raise ValueError(f"{text!r} is not the name of a protocol; write one word such as websocket")
    if text.lower() in ("h2c", "h2"):
        raise ValueError(f"{text!r} would let clients send requests past every route and limit; leave it out")
    return text.lower()


def write_duration(nanoseconds: int) -> str:
    """The shortest exact form: 15 s as `15s`, 90 s as `90s`, 1.5 ms as `1.5ms`."""
    return _write(nanoseconds, (("h", 3600 * 10**9), ("m", 60 * 10**9), ("s", 10**9)), ("ms", 10**6))


def write_size(size: int) -> str:
    """The shortest exact form: 65536 as `64KiB`, 1000 as `1000B`."""
    return _write(size, (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)), ("B", 1))


def write_rate(per_second: float) -> str:
    """As a whole number per second, minute or hour if it is one; otherwise exactly, per second."""
    for unit, seconds in (("s", 1), ("m", 60), ("h", 3600)):
        count = round(per_second * seconds)
        if count / seconds == per_second:
            return f"{count}/{unit}"
    return f"{Decimal(repr(per_second)):f}/s"


def write_byte_rate(bytes_per_s: int) -> str:
    """The shortest exact form: 1048576 as `1MiB/s`."""
    return f"{write_size(bytes_per_s)}/s"


def _write(value: int, units_: tuple[tuple[str, int], ...], smallest: tuple[str, int]) -> str:
    for unit, worth in units_:
        if value and value % worth == 0:
            return f"{value // worth}{unit}"
    unit, worth = smallest
    whole, rest = divmod(value, worth)
    return f"{whole}{unit}" if not rest else f"{whole}.{rest:0{len(str(worth)) - 1}d}".rstrip("0") + unit


_ADDRESS = r"unix:/.+|\[[0-9a-fA-F:.]+\]:[0-9]+|[0-9.]+:[0-9]+"
_ADDRESSES = ("127.0.0.1:8080", "[::1]:8080", "unix:/run/app.sock")
_QUANTITY = r"^[0-9]+(\.[0-9]+)?"

DURATION = Form("duration", units.parse_duration, write_duration, _QUANTITY + "(ms|s|m|h)$", ("250ms", "15s", "5m"))
SIZE = Form("size", units.parse_size, write_size, _QUANTITY + "(B|KiB|MiB|GiB|kB|MB|GB)$", ("64KiB", "1MiB"))
RATE = Form("rate", units.parse_rate, write_rate, _QUANTITY + "/(s|m|h)$", ("1000/s", "20/m"))
BYTE_RATE = Form(
    "bandwidth",
    units.parse_byte_rate,
    write_byte_rate,
    _QUANTITY + "(B|KiB|MiB|GiB|kB|MB|GB)/s$",
    ("1MiB/s", "256KiB/s"),
)
ADDRESS = Form("address", units.parse_address, str, f"^({_ADDRESS})$", _ADDRESSES)
NAME = Form("name", parse_name, str, f"^{_NAME}$", ("app",))
LISTENER_NAME = Form("name", parse_listener_name, str, f"^({_NAME}|{_ADDRESS})$", ("web",))
HOST = Form("host", parse_host, str, f"^({_HOST})$", ("api.example.com", "*.example.com"))
PATH = Form("path", parse_path, str, f"^{_PATH}$", ("/", "/v1/"))
TEMPLATE = Form("template", parse_template, str, "^/", ("/users/{id}",))
PATTERN = Form("pattern", parse_pattern, str, ".*", ("/v[0-9]+/.*",))
SHARE = Form("share", parse_share, write_share, r"^[0-9]{1,3}(\.[0-9]{1,4})?%$", ("5%", "0.5%"))
PROTOCOL = Form("protocol", parse_protocol, str, f"^{_TOKEN}$", ("websocket",))
NETWORK = Form(
    "network", parse_network, str, r"^[0-9a-fA-F:.]+(/[0-9]{1,3})?$", ("10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32")
)
USER = Form("user", parse_user, str, f"^{_USER}$", ("proxy", "proxy:www-data"))
FILE = Form("file", parse_file, str, "^/", ("/run/shardproxy.pid",))
STATUSES = Form("statuses", parse_statuses, str, f"^{_STATUSES}$", ("200", "200-299"))
LABEL = Form("label", parse_label, str, f"^{_LABEL}$", ("version=v2", "zone/rack=7"))
STORE = Form("store", stores.parse_store, str, r"^redis://.+:[0-9]+(/[0-9]+)?$", ("redis://10.0.0.9:6379", "redis://redis.internal:6379/1"))
TEXT = Form("text", parse_text, str, r"^.*$", ("ok",))
TOKEN = Form("token", parse_token, str, f"^{_TOKEN}$", ("edge-1",))
