"""The head that goes on: ours at the end, what ends here left out, everything else untouched."""

from __future__ import annotations

import pytest

from shardproxy.http1.head import Head
from shardproxy.http1.splice import forwarded_request, forwarded_response

ADDED = b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.test\r\nX-Request-Id: id\r\n\r\n"


def request(line: bytes, *fields: bytes, host: bytes = b"Host: a.test") -> Head:
    head = Head()
    assert head.read(b"\r\n".join((line, *([host] if host else []), *fields, b"", b""))) == "ok"
    return head


def response(line: bytes, *fields: bytes) -> Head:
    head = Head()
    assert head.read(b"\r\n".join((line, *fields, b"", b"")), "response") == "ok"
    return head


def test_a_plain_request_goes_on_with_our_fields_at_its_end() -> None:
    head = request(b"GET /a?b HTTP/1.1", b"Accept: */*", b"x:y ")
    assert forwarded_request(head) == b"GET /a?b HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\nx:y \r\n" + ADDED


@pytest.mark.parametrize(
    ("line", "onward"),
    [
        (b"GET http://a.test/b?c HTTP/1.1", b"GET /b?c HTTP/1.1"),
        (b"GET http://a.test HTTP/1.1", b"GET / HTTP/1.1"),
        (b"GET http://a.test?b HTTP/1.1", b"GET /?b HTTP/1.1"),
        (b"OPTIONS http://a.test HTTP/1.1", b"OPTIONS * HTTP/1.1"),
        (b"OPTIONS http://a.test/ HTTP/1.1", b"OPTIONS / HTTP/1.1"),
        (b"OPTIONS * HTTP/1.1", b"OPTIONS * HTTP/1.1"),
        (b"GET / HTTP/1.0", b"GET / HTTP/1.1"),
    ],
)
def test_the_request_line_goes_on_in_origin_form_and_our_version(line: bytes, onward: bytes) -> None:
    assert forwarded_request(request(line)).startswith(onward + b"\r\nHost: a.test\r\n")


def test_host_goes_first_and_stands_once() -> None:
    onward = forwarded_request(request(b"GET / HTTP/1.1", b"hOST: b.test", host=b"A: b"))
    assert onward.startswith(b"GET / HTTP/1.1\r\nHost: b.test\r\nA: b\r\nX-Forwarded-For")


def test_a_request_without_host_gets_that_of_the_origin() -> None:
    onward = forwarded_request(request(b"GET / HTTP/1.0", host=b""))
    assert onward.startswith(b"GET / HTTP/1.1\r\nHost: origin.test\r\n")
    assert b"X-Forwarded-Host" not in onward


def test_a_normalised_path_replaces_the_path_and_keeps_the_query() -> None:
    head = request(b"GET http://a.test/x/../b?c HTTP/1.1")
    assert forwarded_request(head, path=b"/b").startswith(b"GET /b?c HTTP/1.1\r\n")


def test_hop_by_hop_and_named_fields_are_left_out_and_their_neighbours_kept() -> None:
    head = request(
        b"GET / HTTP/1.1",
        b"A: 1",
        b"Connection: close, foo",
        b"B: 2",
        b"Foo: x",
        b"Keep-Alive: x",
        b"Upgrade: h2c",
        b"C: 3",
    )
    assert forwarded_request(head) == b"GET / HTTP/1.1\r\nHost: a.test\r\nA: 1\r\nB: 2\r\nC: 3\r\n" + ADDED


def test_forwarded_addresses_become_one_list_with_the_client_at_its_end() -> None:
    head = request(
        b"GET / HTTP/1.1", b"X-Forwarded-For: 1.1.1.1", b"X-Forwarded-For:", b"x-forwarded-for: 2.2.2.2, 3.3.3.3"
    )
    onward = forwarded_request(head, peer=b"4.4.4.4")
    assert b"\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 4.4.4.4\r\n" in onward
    assert onward.lower().count(b"x-forwarded-for") == 1


def test_what_the_client_says_of_scheme_host_and_request_id_is_replaced() -> None:
    head = request(b"GET / HTTP/1.1", b"X-Forwarded-Proto: https", b"X-Forwarded-Host: evil", b"X-Request-Id: mine")
    assert forwarded_request(head) == b"GET / HTTP/1.1\r\nHost: a.test\r\n" + ADDED


def test_a_chunked_request_goes_on_chunked() -> None:
    head = request(b"POST / HTTP/1.1", b"Transfer-Encoding:\tCHUNKED ", b"A: b")
    expected = b"POST / HTTP/1.1\r\nHost: a.test\r\nA: b\r\nTransfer-Encoding: chunked\r\n" + ADDED
    assert forwarded_request(head, chunked=True) == expected


@pytest.mark.parametrize(
    ("said", "kept"), [(b"trailers", True), (b"Trailers", True), (b"trailers, gzip", False), (b"gzip", False)]
)
def test_only_te_trailers_is_said_again(said: bytes, kept: bool) -> None:
    onward = forwarded_request(request(b"GET / HTTP/1.1", b"TE: " + said))
    assert (b"\r\nTE: trailers\r\nConnection: TE\r\n" in onward) is kept
    assert onward.count(b"TE") == 2 * kept


def test_an_upgrade_that_the_route_allows_is_asked_for_anew() -> None:
    head = request(
        b"GET / HTTP/1.1", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: websocket, h2c", b"TE: trailers"
    )
    onward = forwarded_request(head, upgrade=b"websocket")
    assert b"\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" in onward
    assert onward.lower().count(b"upgrade:") == onward.lower().count(b"connection:") == 1


def test_via_is_added_behind_the_ones_before() -> None:
    onward = forwarded_request(request(b"GET / HTTP/1.1", b"Via: 1.0 b"), via=b"Via: 1.1 shardproxy\r\n")
    assert onward.index(b"Via: 1.0 b") < onward.index(b"Via: 1.1 shardproxy")


def test_a_plain_response_goes_on_untouched() -> None:
    head = response(b"HTTP/1.1 200 OK", b"Date: now", b"Content-Length: 5", b"Set-Cookie: a", b"Set-Cookie: b")
    assert forwarded_response(head) == (
        b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n"
    )


def test_a_response_of_http_1_0_goes_on_in_our_version_with_its_reason() -> None:
    assert forwarded_response(response(b"HTTP/1.0 404 Not  here\t")).startswith(b"HTTP/1.1 404 Not  here\t\r\n")


def test_the_space_behind_the_status_code_is_always_sent() -> None:
    assert forwarded_response(response(b"HTTP/1.1 200")).startswith(b"HTTP/1.1 200 \r\n")


def test_a_response_without_a_date_gets_one() -> None:
    assert (
        forwarded_response(response(b"HTTP/1.1 200 OK"), date=b"Date: D\r\n") == b"HTTP/1.1 200 OK\r\nDate: D\r\n\r\n"
    )


def test_hop_by_hop_fields_of_a_response_are_left_out_and_ours_added() -> None:
    head = response(
        b"HTTP/1.1 200 OK", b"Connection: x-a", b"X-A: b", b"Keep-Alive: 1", b"Transfer-Encoding: chunked", b"Date: d"
    )
    onward = forwarded_response(head, connection=b"Connection: close\r\n", via=b"Via: 1.1 s\r\n", chunked=True)
    assert (
        onward == b"HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\nVia: 1.1 s\r\nConnection: close\r\n\r\n"
    )


@pytest.mark.parametrize("status", [b"103 Early Hints", b"204 No Content"])
def test_a_response_that_has_no_body_goes_on_without_a_length(status: bytes) -> None:
    head = response(b"HTTP/1.1 " + status, b"Content-Length: 0", b"Date: d")
    assert forwarded_response(head) == b"HTTP/1.1 " + status + b"\r\nDate: d\r\n\r\n"


def test_a_response_does_not_lose_fields_that_only_requests_set() -> None:
    head = response(b"HTTP/1.1 200 OK", b"X-Request-Id: a", b"X-Forwarded-For: b", b"Host: c", b"Date: d")
    assert (
        forwarded_response(head)
        == b"HTTP/1.1 200 OK\r\nX-Request-Id: a\r\nX-Forwarded-For: b\r\nHost: c\r\nDate: d\r\n\r\n"
    )


def test_a_head_of_many_kilobytes_goes_on_whole() -> None:
    head = request(b"GET / HTTP/1.1", *(b"A%d: %s" % (n, b"b" * 500) for n in range(50)))
    onward = forwarded_request(head)
    assert all(b"\r\nA%d: %s\r\n" % (n, b"b" * 500) in onward for n in range(50))
