from __future__ import annotations

import pytest

from shardproxy.demo.body import BadBody, ChunkedBody, LengthBody

CHUNKED = b"5\r\nhello\r\n1a;note=x\r\n" + b"y" * 26 + b"\r\n0\r\nTrailer: 1\r\n\r\n"


def fed(body: LengthBody | ChunkedBody, data: bytes, step: int) -> bytes:
    """What is left of `data`, which ends the body, when it comes `step` bytes at a time."""
    buffer = bytearray()
    for start in range(0, len(data), step):
        buffer += data[start : start + step]
        if body.take(buffer):
            return bytes(buffer) + data[start + step :]
    raise AssertionError("the body did not end")


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_a_body_of_known_length_ends_where_it_says(step: int) -> None:
    body = LengthBody(12)
    assert fed(body, b"hello, world" + b"GET / ", step) == b"GET / "
    assert body.received == 12


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_a_chunked_body_ends_after_its_trailers(step: int) -> None:
    body = ChunkedBody()
    assert fed(body, CHUNKED + b"GET / ", step) == b"GET / "
    assert body.received == 31


def test_no_body_is_complete_at_once() -> None:
    assert LengthBody(0).take(bytearray(b"GET / "))


@pytest.mark.parametrize("data", [b"zz\r\n", b"1" * 5000])
def test_what_is_no_chunk_is_refused(data: bytes) -> None:
    with pytest.raises(BadBody):
        ChunkedBody().take(bytearray(data))
