"""What a scan of a head finds. Which heads are refused is shown by the wire cases."""

from __future__ import annotations

import pytest

from shardproxy.http1.head import Head

HOST = b"Host: a.test\r\n"


def request(line: bytes, *fields: bytes) -> Head:
    """A request's head that has been read and accepted."""
    head = Head()
    assert head.read(b"".join((line, b"\r\n", *fields, b"\r\n"))) == "ok"
    return head


def response(line: bytes, *fields: bytes) -> Head:
    head = Head()
    assert head.read(b"".join((line, b"\r\n", *fields, b"\r\n")), "response") == "ok"
    return head


def gone(head: Head) -> set[bytes]:
    """The names of the fields that end here."""
    return {name for name, _, ends_here in head.items if ends_here}


def test_the_start_line_is_taken_apart() -> None:
    facts = request(b"PATCH /a/b?c=d&e HTTP/1.1", HOST).facts
    assert (facts["method"], facts["target"], facts["path"]) == (b"PATCH", b"/a/b?c=d&e", b"/a/b")
    assert (facts["host"], facts["minor"], facts["status"]) == (b"a.test", 1, 0)


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        (b"http://a.test/b?c", b"/b", b"a.test"),
        (b"http://A.test", b"", b"A.test"),
        (b"https://a.test?b/c", b"", b"a.test"),
        (b"/b?http://c.test/", b"/b", b"a.test"),
        (b"//b.test/c", b"//b.test/c", b"a.test"),
    ],
)
def test_a_target_is_split_into_host_and_path(target: bytes, path: bytes, host: bytes) -> None:
    facts = request(b"GET " + target + b" HTTP/1.1", HOST).facts
    assert (facts["path"], facts["host"]) == (path, host)


def test_the_asterisk_is_its_own_path() -> None:
    assert request(b"OPTIONS * HTTP/1.1", HOST).facts["path"] == b"*"


def test_connect_has_a_host_and_no_path() -> None:
    facts = request(b"CONNECT a.test:443 HTTP/1.1", b"Host: a.test:443\r\n").facts
    assert (facts["host"], facts["path"]) == (b"a.test:443", b"")


def test_a_request_of_http_1_0_may_have_no_host() -> None:
    facts = request(b"GET / HTTP/1.0").facts
    assert (facts["host"], facts["minor"]) == (b"", 0)


def test_the_status_line_is_taken_apart() -> None:
    facts = response(b"HTTP/1.0 404 Not Found").facts
    assert (facts["status"], facts["minor"], facts["method"]) == (404, 0, b"")


def test_fields_keep_order_case_and_inner_white_space() -> None:
    head = request(b"GET / HTTP/1.1", HOST, b"x-A:  b \t c\t\r\n", b"X-a:\r\n")
    assert head.items == [(b"Host", b"a.test", False), (b"x-A", b"b \t c", False), (b"X-a", b"", False)]


def test_the_size_is_that_of_the_head_alone() -> None:
    head = Head()
    data = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
    assert head.read(data + b"body") == "ok"
    assert head.facts["size"] == len(data)


@pytest.mark.parametrize(
    "field",
    [b"Connection: a", b"Keep-Alive: a", b"Proxy-Connection: a", b"TE: a", b"Trailer: a", b"Transfer-Encoding: a",
     b"Upgrade: a", b"HTTP2-Settings: a", b"CONNECTION: a", b"kEEP-aLIVE: a"],
)  # fmt: skip
def test_a_hop_by_hop_field_ends_here_without_being_named(field: bytes) -> None:
    assert gone(request(b"GET / HTTP/1.1", HOST, field + b"\r\n")) == {field.split(b":")[0]}


def test_a_named_field_ends_here_wherever_it_stands() -> None:
    head = request(
        b"GET / HTTP/1.1", HOST, b"foo: 1\r\n", b"Connection: close,\tFOO , , bar\r\n", b"Foo: 2\r\n", b"Baz: 3\r\n"
    )
    assert gone(head) == {b"Connection", b"foo", b"Foo"}


def test_names_of_two_connection_fields_count_together() -> None:
    head = request(b"GET / HTTP/1.1", HOST, b"Connection: a\r\n", b"Connection: b\r\n", b"A: 1\r\n", b"B: 2\r\n")
    assert gone(head) == {b"Connection", b"A", b"B"}


@pytest.mark.parametrize("name", [b"Host", b"Content-Length", b"Expect", b"X-Forwarded-For", b"X-Request-Id"])
def test_connection_cannot_take_away_what_framing_routing_and_tracing_stand_on(name: bytes) -> None:
    fields = [field + b": 1\r\n" for field in {b"Host", name}]
    head = request(b"GET / HTTP/1.1", b"Connection: " + name + b"\r\n", *fields)
    assert gone(head) == {b"Connection"}


@pytest.mark.parametrize(
    ("value", "said"),
    [(b"close", "close"), (b"Keep-Alive", "keep_alive"), (b"a, UPGRADE", "upgrade"), (b",close,,", "close")],
)
def test_connection_options_are_heard_in_any_case(value: bytes, said: str) -> None:
    facts = request(b"GET / HTTP/1.1", HOST, b"Connection: " + value + b"\r\n").facts
    assert {option for option in ("close", "keep_alive", "upgrade") if facts[option]} == {said}


@pytest.mark.parametrize("status", [b"103", b"199", b"204"])
def test_a_length_of_what_has_no_body_ends_here(status: bytes) -> None:
    assert gone(response(b"HTTP/1.1 " + status + b" x", b"Content-Length: 5\r\n")) == {b"Content-Length"}


@pytest.mark.parametrize("status", [b"200", b"304", b"206"])
def test_any_other_length_goes_on(status: bytes) -> None:
    assert gone(response(b"HTTP/1.1 " + status + b" x", b"Content-Length: 5\r\n")) == set()


def test_a_head_that_is_read_again_forgets_the_message_before() -> None:
    head = Head()
    fields = b"Host: a.test\r\nConnection: close, x\r\nUpgrade: y\r\nContent-Length: 5\r\nX: 1\r\n"
    assert head.read(b"POST http://a.test/b HTTP/1.0\r\n" + fields + b"\r\n") == "ok"
    assert head.read(b"GET / HTTP/1.1\r\nHost: c\r\n\r\n") == "ok"
    fresh = request(b"GET / HTTP/1.1", b"Host: c\r\n")
    assert (head.facts, head.items) == (fresh.facts, fresh.items)


def test_a_head_grows_beyond_its_first_fields() -> None:
    head = Head()
    data = b"GET / HTTP/1.1\r\n" + HOST + b"".join(b"A%d: %d\r\n" % (n, n) for n in range(500)) + b"\r\n"
    assert head.read(data, max_fields=501) == "ok"
    assert [value for _, value, _ in head.items[1:]] == [b"%d" % n for n in range(500)]


def test_a_head_may_be_exactly_as_large_as_the_limit() -> None:
    data = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
    assert Head().read(data, max_bytes=len(data)) == "ok"
    assert Head().read(data, max_bytes=len(data) - 1) == "head_too_large"
    assert Head().read(data[:-1], max_bytes=len(data) - 1) == "head_too_large"
    assert Head().read(data[:-2], max_bytes=len(data) - 1) == "need_more"


def test_there_may_be_exactly_as_many_fields_as_the_limit() -> None:
    data = b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n\r\n"
    assert Head().read(data, max_fields=2) == "ok"
    assert Head().read(data, max_fields=1) == "head_too_large"


def test_a_target_above_the_limit_is_told_before_its_end() -> None:
    assert Head().read(b"GET /" + b"a" * 100, max_bytes=100) == "target_too_long"


def test_a_response_above_its_limits_is_a_bad_response() -> None:
    data = b"HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\r\n"
    assert Head().read(data, "response", max_fields=1) == "bad_response"
    assert Head().read(data, "response", max_bytes=len(data) - 1) == "bad_response"
    assert Head().read(data, "response", max_bytes=len(data)) == "ok"
