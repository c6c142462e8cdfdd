"""Who has a body, how long it is, and the reading of bodies in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shardproxy.http1.framing import Body, request_framing, response_framing
from shardproxy.http1.head import Head

if TYPE_CHECKING:  # it lives in the .pyi only
    from shardproxy.http1.framing import Kind


def framed_request(*fields: bytes, line: bytes = b"POST / HTTP/1.1") -> tuple[str, Kind, int]:
    head = Head()
    assert head.read(b"\r\n".join((line, b"Host: a", *fields, b"", b""))) == "ok"
    return request_framing(head)


def framed_response(
    status: int, *fields: bytes, method: bytes = b"GET", version: bytes = b"1.1"
) -> tuple[str, Kind, int]:
    head = Head()
    assert head.read(b"\r\n".join((b"HTTP/%s %d x" % (version, status), *fields, b"", b"")), "response") == "ok"
    return response_framing(head, method)


def test_a_request_without_a_length_has_no_body() -> None:
    assert framed_request() == ("ok", "none", 0)


def test_the_length_of_a_request_is_a_number() -> None:
    assert framed_request(b"Content-Length: 4611686018427387899") == ("ok", "length", 4611686018427387899)


def test_a_chunked_request_has_no_length() -> None:
    assert framed_request(b"Transfer-Encoding: chunked") == ("ok", "chunked", 0)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ((b"Content-Length: 1", b"Transfer-Encoding: chunked"), "ambiguous_length"),
        ((b"Content-Length: x", b"Transfer-Encoding: x"), "ambiguous_length"),
        ((b"Content-Length: 1", b"Content-Length: 1"), "bad_length"),
        ((b"Transfer-Encoding: gzip",), "bad_coding"),
        ((b"Transfer-Encoding: gzip, chunked",), "unsupported_coding"),
    ],
)
def test_any_doubt_about_a_request_is_a_fault(fields: tuple[bytes, ...], fault: str) -> None:
    assert framed_request(*fields)[0] == fault


def test_http_1_0_has_no_transfer_codings() -> None:
    assert framed_request(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0")[0] == "bad_coding"


@pytest.mark.parametrize("status", [200, 206, 404, 500, 999])
def test_a_response_without_a_length_ends_with_the_connection(status: int) -> None:
    assert framed_response(status) == ("ok", "until_close", 0)


@pytest.mark.parametrize(
    ("status", "method"), [(100, b"GET"), (103, b"GET"), (204, b"GET"), (304, b"GET"), (200, b"HEAD")]
)
def test_some_responses_have_no_body_whatever_they_say(status: int, method: bytes) -> None:
    assert framed_response(status, method=method) == ("ok", "none", 0)
    assert framed_response(status, b"Content-Length: 5", method=method) == ("ok", "none", 0)


def test_head_is_a_method_only_in_capitals() -> None:
    assert framed_response(200, b"Content-Length: 5", method=b"head") == ("ok", "length", 5)


def test_101_turns_the_connection_into_a_tunnel() -> None:
    assert framed_response(101) == ("ok", "tunnel", 0)


@pytest.mark.parametrize("status", [100, 101, 199, 204])
def test_a_transfer_coding_where_none_may_be_is_a_bad_response(status: int) -> None:
    assert framed_response(status, b"Transfer-Encoding: chunked")[0] == "bad_response"


@pytest.mark.parametrize(
    "fields",
    [(b"Content-Length: 1", b"Content-Length: 1"), (b"Content-Length: x",),
     (b"Content-Length: 1", b"Transfer-Encoding: chunked"), (b"Transfer-Encoding: gzip",),
     (b"Transfer-Encoding: gzip, chunked",)],
)  # fmt: skip
def test_any_doubt_about_a_response_is_a_bad_response(fields: tuple[bytes, ...]) -> None:
    assert framed_response(200, *fields)[0] == "bad_response"


def test_a_body_of_nothing_is_done_at_once() -> None:
    body = Body("none")
    assert body.is_done
    assert body.feed(b"GET") == ("ok", b"", 0)


def test_a_body_with_a_length_takes_no_byte_of_the_next_message() -> None:
    body = Body("length", 5)
    assert body.feed(b"hel") == ("ok", b"hel", 3)
    assert not body.is_done
    assert body.feed(b"loGET") == ("ok", b"lo", 2)
    assert body.is_done


@pytest.mark.parametrize("kind", ["until_close", "tunnel"])
def test_a_body_until_close_takes_everything_and_is_never_done(kind: Kind) -> None:
    body = Body(kind)
    assert body.feed(b"\r\n\r\n") == ("ok", b"\r\n\r\n", 4)
    assert not body.is_done


def test_a_chunked_body_may_be_cut_anywhere() -> None:
    data = b"5;a=b\r\nhello\r\n00a\r\n0123456789\r\n0\r\nA: b\r\n\r\n"
    for cut in range(len(data)):
        body = Body("chunked")
        first, second = body.feed(data[:cut]), body.feed(data[cut:] + b"GET")
        assert (first[0], second[0], body.is_done) == ("ok", "ok", True)
        assert first[1] + second[1] == b"hello0123456789"
        assert first[2] + second[2] == len(data)


def test_a_chunk_of_a_mebibyte_is_not_copied_piece_by_piece() -> None:
    payload = bytes(1 << 20)
    body = Body("chunked")
    assert body.feed(b"100000\r\n" + payload + b"\r\n0\r\n\r\n") == ("ok", payload, len(payload) + 15)


def test_the_extensions_of_one_chunk_are_bounded() -> None:
    assert Body("chunked").feed(b"1;" + b"a" * 8000 + b"\r\nx\r\n")[0] == "ok"
    assert Body("chunked").feed(b"1;" + b"a" * 9000)[0] == "bad_chunk"


def test_the_bound_on_trailers_is_that_of_the_whole_section() -> None:
    body = Body("chunked")
    assert body.feed(b"0\r\n")[0] == "ok"
    faults = [body.feed(b"A: " + b"b" * 1000 + b"\r\n")[0] for _ in range(9)]
    assert faults == ["ok"] * 8 + ["bad_trailer"]


def test_extensions_that_outweigh_the_payload_are_refused_though_each_chunk_is_within_bounds() -> None:
    chunk = b"1;" + b"a" * 4000 + b"\r\nx\r\n"
    body = Body("chunked")
    assert [body.feed(chunk)[0] for _ in range(2)] == ["ok", "ok"]
    assert body.feed(chunk)[0] == "bad_chunk"


def test_extensions_that_sign_each_large_chunk_are_fine_however_long_the_body_is() -> None:
    chunk = b"10000;chunk-signature=" + b"a" * 64 + b"\r\n" + b"x" * 0x10000 + b"\r\n"
    body = Body("chunked")
    assert {body.feed(chunk)[0] for _ in range(300)} == {"ok"}
