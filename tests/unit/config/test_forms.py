"""Each form of text that a value can have: what it means, how it is written, and what is said of anything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from shardproxy.config import forms, units
from shardproxy.config.discovery import DNS_NAME, MAX_NAME, Question, question
from shardproxy.config.forms import MAX_HOST, MAX_PARAMETERS, MAX_PATH, MAX_SUBSTRING, Form, status_range
from shardproxy.config.stores import Store

US, MS, S, M, H = 10**3, 10**6, 10**9, 60 * 10**9, 3600 * 10**9

MEANINGS: list[tuple[Form, str, Any, str]] = [
    (forms.DURATION, "0s", 0, "0ms"),
    (forms.DURATION, "1.5m", 90 * S, "90s"),
    (forms.DURATION, "120s", 2 * M, "2m"),
    (forms.DURATION, "180m", 3 * H, "3h"),
    (forms.DURATION, "0.25ms", 250 * US, "0.25ms"),
    (forms.DURATION, "0.000001ms", 1, "0.000001ms"),
    (forms.DURATION, "8760h", units.MAX_DURATION_NS, "8760h"),
    (forms.SIZE, "0B", 0, "0B"),
    (forms.SIZE, "64KiB", 1 << 16, "64KiB"),
    (forms.SIZE, "1024KiB", 1 << 20, "1MiB"),
    (forms.SIZE, "2048MiB", 2 << 30, "2GiB"),
    (forms.SIZE, "1.5KiB", 1536, "1536B"),
    (forms.SIZE, "2kB", 2000, "2000B"),
    (forms.SIZE, "3MB", 3 * 10**6, "3000000B"),
    (forms.SIZE, "4GB", 4 * 10**9, "3906250KiB"),
    (forms.SIZE, "1048576GiB", 1 << 50, "1048576GiB"),
    (forms.RATE, "5/s", 5.0, "5/s"),
    (forms.RATE, "90/m", 1.5, "90/m"),
    (forms.RATE, "5/h", 5 / 3600, "5/h"),
    (forms.RATE, "0.3/s", 0.3, "18/m"),
    (forms.RATE, "0.123/s", 0.123, "0.123/s"),
    (forms.RATE, "0.000001/s", 1e-6, "0.000001/s"),
    (forms.RATE, "1000000000/s", 1e9, "1000000000/s"),
    (forms.BYTE_RATE, "1MiB/s", 1 << 20, "1MiB/s"),
    (forms.BYTE_RATE, "1B/s", 1, "1B/s"),
    (forms.BYTE_RATE, "1024GiB/s", 1 << 40, "1024GiB/s"),
    (forms.SHARE, "5%", 50_000, "5%"),
    (forms.SHARE, "0.5%", 5_000, "0.5%"),
    (forms.SHARE, "12.3456%", 123_456, "12.3456%"),
    (forms.SHARE, "0.0001%", 1, "0.0001%"),
    (forms.SHARE, "100%", 1_000_000, "100%"),
    (forms.LISTENER_NAME, "web-1", "web-1", "web-1"),
    (forms.LISTENER_NAME, "[::0001]:80", "[::1]:80", "[::1]:80"),
    (forms.HOST, "API.Example.COM", "api.example.com", "api.example.com"),
    (forms.HOST, "a" * 63 + ".test", "a" * 63 + ".test", "a" * 63 + ".test"),
    (forms.PATH, "/" + "a" * (MAX_PATH - 1), "/" + "a" * (MAX_PATH - 1), "/" + "a" * (MAX_PATH - 1)),
    (forms.TEMPLATE, "/users/{id}/posts/{post}", "/users/{id}/posts/{post}", "/users/{id}/posts/{post}"),
    (forms.PATTERN, "/v[0-9]+", "/v[0-9]+", "/v[0-9]+"),
    (forms.PATTERN, "a" * MAX_SUBSTRING, "a" * MAX_SUBSTRING, "a" * MAX_SUBSTRING),
    (forms.PROTOCOL, "WebSocket", "websocket", "websocket"),
    (forms.NETWORK, "10.0.0.0/8", "10.0.0.0/8", "10.0.0.0/8"),
    (forms.NETWORK, "192.0.2.1", "192.0.2.1/32", "192.0.2.1/32"),
    (forms.NETWORK, "2001:DB8::/32", "2001:db8::/32", "2001:db8::/32"),
    (forms.USER, "proxy:www-data", "proxy:www-data", "proxy:www-data"),
    (forms.FILE, "/run/a.pid", "/run/a.pid", "/run/a.pid"),
    (forms.STATUSES, "200-200", "200-200", "200-200"),
    (forms.LABEL, "zone/rack=7", "zone/rack=7", "zone/rack=7"),
    (forms.TEXT, "x" * MAX_SUBSTRING, "x" * MAX_SUBSTRING, "x" * MAX_SUBSTRING),
    (forms.TOKEN, "edge-1", "edge-1", "edge-1"),
    (forms.STORE, "redis://[::1]:6379/3", Store("::1", 6379, 3), "redis://[::1]:6379/3"),
    (forms.STORE, "redis://redis.internal:1", Store("redis.internal", 1), "redis://redis.internal:1"),
    (forms.STORE, "redis://a:65535/0", Store("a", 65535), "redis://a:65535"),
    (DNS_NAME, "dns://app.internal.:65535", "dns://app.internal.:65535", "dns://app.internal.:65535"),
    (DNS_NAME, "dns+srv://_http._tcp.app", "dns+srv://_http._tcp.app", "dns+srv://_http._tcp.app"),
]

DURATION = "is not a duration; write a number and ms, s, m or h, such as 250ms or 15s"
SIZE = "is not a size; write a number and B, KiB, MiB or GiB, such as 64KiB"
RATE = "is not a rate; write a number above 0 and /s, /m or /h, such as 1000/s"
BYTE_RATE = "is not a bandwidth; write a size per second, such as 1MiB/s or 256KiB/s"
NAME = "is not a name; use letters, digits, '_', '.' and '-', a letter or digit first"
HOST = "is not a host; write api.example.com or *.example.com, without a port"
TOKEN = "cannot stand in a header field; write one word of letters, digits, '-', '.' and '_'"
LABEL = "is no label; write version=v2, with letters, digits, '-', '.', '_' and '/'"
PROTOCOL = "is not the name of a protocol; write one word such as websocket"
STATUSES = "is not a status or a range of them; write 200 or 200-299"
STORE = "is not a store; write redis://HOST:PORT or redis://HOST:PORT/DATABASE"
LOOK_UP = "is no name to look up; write dns://app.internal:8080 or dns+srv://_http._tcp.app"
MOST = MAX_PARAMETERS + 1
MANY = "/".join(["", *(f"{{a{number}}}" for number in range(MOST))])

REFUSALS: list[tuple[Form, str, str]] = [
    *((forms.DURATION, text, f"{text!r} {DURATION}") for text in ("15", "s", "-1s", "1 s", "1d", "1.s")),
    (forms.DURATION, "8761h", "'8761h' is longer than a year"),
    *((forms.SIZE, text, f"{text!r} {SIZE}") for text in ("64", "KiB", "-1B", "1TiB")),
    (forms.SIZE, "1048577GiB", "'1048577GiB' is larger than any size here may be (1048576 GiB)"),
    *((forms.RATE, text, f"{text!r} {RATE}") for text in ("5", "0/s", "0.0/h", "5/d", "-1/s")),
    *(
        (forms.RATE, text, f"{text!r} is not a rate between 0.000001/s and 1000000000/s")
        for text in ("1000000001/s", "0.003/h")
    ),
    *((forms.BYTE_RATE, text, f"{text!r} {BYTE_RATE}") for text in ("1MiB", "1MiB/m", "1/s", "/s", "1MiB/s/s")),
    *(
        (forms.BYTE_RATE, text, f"{text!r} is not a bandwidth between 1B/s and 1024GiB/s")
        for text in ("0B/s", "1025GiB/s")
    ),
    *(
        (forms.SHARE, text, f"{text!r} is not a share; write 5% or 0.5%")
        for text in ("5", "5.%", ".5%", "1000%", "0.00001%")
    ),
    *((forms.SHARE, text, "a share is more than 0% and at most 100%") for text in ("0%", "0.0%", "100.0001%", "101%")),
    *((forms.NAME, text, f"{text!r} {NAME}") for text in ("", "-a", "a b", "a:b")),
    (forms.LISTENER_NAME, "a b", f"'a b' {NAME}"),
    *((forms.HOST, text, f"{text!r} {HOST}") for text in ("a:80", "*", "a..b", "a" * (MAX_HOST + 1))),
    (forms.PATH, "v1", "'v1' does not begin with '/'"),
    (forms.PATH, "/" + "a" * MAX_PATH, f"a path has at most {MAX_PATH} characters, this one has {MAX_PATH + 1}"),
    (forms.PATH, "/a b", "'/a b' has a character that no path of a request has; percent-encode it, such as %20"),
    (forms.TEMPLATE, "/{}", "{} has no name that can be used; write {id}"),
    (forms.TEMPLATE, "/{a b}", "{a b} has no name that can be used; write {id}"),
    (forms.TEMPLATE, "/{id}/{id}", "{id} is there twice; give each its own name"),
    (forms.TEMPLATE, MANY, f"a template has at most {MAX_PARAMETERS} names in braces, this one has {MOST}"),
    *(
        (forms.TEMPLATE, text, f"{text!r} needs braces around whole segments: /users/{{id}}")
        for text in ("/a{id}", "/{id}b", "/{id", "/id}")
    ),
    (forms.TEMPLATE, "{id}", "'{id}' needs braces around whole segments: /users/{id}"),
    (forms.TEMPLATE, "users/{id}", "'users/x' does not begin with '/'"),
    (forms.PATTERN, "a" * (MAX_SUBSTRING + 1), f"a pattern has at most {MAX_SUBSTRING} characters, this one has 1025"),
    (forms.PATTERN, "(", "'(' is not a pattern: missing ): ("),
    *((forms.TOKEN, text, f"{text!r} {TOKEN}") for text in ("", "a b", "ä", "a" * 256)),
    *((forms.LABEL, text, f"{text!r} {LABEL}") for text in ("a", "a=", "=b", "a b=c", "a=" + "b" * 254)),
    (forms.NETWORK, "10.0.0.1/8", "'10.0.0.1/8' has bits behind its prefix; the network is 10.0.0.0/8"),
    (forms.NETWORK, "x", "'x' is not a network; write 10.0.0.0/8, 192.0.2.1 or 2001:db8::/32"),
    (forms.USER, "a:b:c", "'a:b:c' is not a user; write proxy or proxy:proxy"),
    *(
        (forms.FILE, text, f"{text!r} is not the full path of a file; write /run/shardproxy.pid")
        for text in ("a.pid", "/a\0b")
    ),
    *((forms.STATUSES, text, f"{text!r} {STATUSES}") for text in ("20", "300-200", "2xx", "200-", "600")),
    *(
        (forms.TEXT, text, f"this needs printable text of at most {MAX_SUBSTRING} characters")
        for text in ("a\nb", "x" * (MAX_SUBSTRING + 1))
    ),
    *((forms.PROTOCOL, text, f"{text!r} {PROTOCOL}") for text in ("", "web socket", "a" * 256)),
    *(
        (forms.PROTOCOL, text, f"{text!r} would let clients send requests past every route and limit; leave it out")
        for text in ("h2c", "H2", "H2C")
    ),
    *((forms.STORE, text, f"{text!r} {STORE}") for text in ("redis://a", "redis://a:0", "redis://a:65536", "http://a:1")),
    *((DNS_NAME, text, f"{text!r} {LOOK_UP}") for text in ("app", "dns://app", "dns://app:0", "dns://app:65536")),
    *(
        (DNS_NAME, text, f"{text!r} has a name that DNS does not allow")
        for text in ("dns://a..b:80", "dns://" + "a" * 64 + ":80", "dns+srv://" + "a." * 122)
    ),
]


def numbered(cases: Sequence[tuple[Form, Any, Any] | tuple[Form, Any, Any, Any]]) -> list[str]:
    """The form and a number, since some of the texts are no names of tests."""
    return [f"{case[0].noun}-{number}" for number, case in enumerate(cases)]


@pytest.mark.parametrize(("form", "text", "value", "written"), MEANINGS, ids=numbered(MEANINGS))
def test_a_text_means_something_and_is_written_in_the_shortest_way(
    form: Form, text: str, value: Any, written: str
) -> None:
    assert form.parse(text) == value
    assert form.write(value) == written
    assert form.parse(written) == value


@pytest.mark.parametrize(("form", "text", "sentence"), REFUSALS, ids=numbered(REFUSALS))
def test_anything_else_is_refused_in_one_sentence(form: Form, text: str, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        form.parse(text)
    assert str(caught.value) == sentence


def test_a_label_and_a_token_may_be_255_long_and_a_dns_name_253() -> None:
    assert forms.TOKEN.parse("a" * forms.MAX_NAME)
    assert forms.LABEL.parse("a=" + "b" * (forms.MAX_NAME - 2))
    assert forms.PROTOCOL.parse("a" * forms.MAX_NAME)
    assert forms.HOST.parse("a." * ((MAX_HOST - 1) // 2) + "a")
    assert forms.TEMPLATE.parse("/".join(["", *(f"{{a{number}}}" for number in range(MAX_PARAMETERS))]))
    longest = "dns+srv://" + "a." * ((MAX_NAME - 10) // 2) + "b"
    assert DNS_NAME.parse(longest[:MAX_NAME])


def test_a_status_stands_for_itself_and_a_range_for_all_in_it() -> None:
    assert list(status_range("204")) == [204]
    assert list(status_range("200-202")) == [200, 201, 202]


def test_a_question_has_a_port_or_asks_for_services() -> None:
    assert question("dns://app.internal:8080") == Question("app.internal", 8080)
    assert question("dns+srv://_http._tcp.app") == Question("_http._tcp.app", None)
    with pytest.raises(AssertionError):
        question("nonsense")
