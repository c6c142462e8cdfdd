"""Heads for which there is no memory: the fault is the proxy's own, and nothing of it reaches the next head."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.failing_malloc import FailingMalloc, failing_malloc, only_with_glibc

pytestmark = only_with_glibc

# Field tables have 32 fields of 20 bytes at first, then twice as many.
HEADS = """
    from shardproxy.http1.head import Head
    few, many = b"Host: a.test\\r\\n", b"Host: a.test\\r\\n" + b"X-Field: x\\r\\n" * 40
    request, response = b"GET / HTTP/1.1\\r\\n", b"HTTP/1.1 200 OK\\r\\n"
    end = b"\\r\\n"
"""


@pytest.fixture(scope="module")
def malloc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FailingMalloc]:
    with failing_malloc(tmp_path_factory.mktemp("malloc")) as built:
        yield built


@pytest.mark.parametrize("kind", ["request", "response"])
def test_a_head_for_whose_fields_there_is_no_memory_is_nobody_elses_fault(malloc: FailingMalloc, kind: str) -> None:
    program = f"""{HEADS}
    head = Head()
    data = {kind} + few + end
    with orders.refuse(pid, least=32 * 20, most=32 * 20):
        print(head.read(data, "{kind}"), orders.refused)
    print(head.read(data, "{kind}"), len(head.items))
    data = {kind} + many + end
    with orders.refuse(pid, least=64 * 20, most=64 * 20):
        print(head.read(data, "{kind}"), orders.refused)
    print(head.read(data, "{kind}"), len(head.items))
    """
    assert malloc.run(program).split("\n") == ["no_resources 1", "ok 1", "no_resources 1", "ok 41"]


@pytest.mark.parametrize("nth", [1, 2])
def test_the_buffer_in_which_heads_are_joined_is_empty_for_the_next_whatever_failed(
    malloc: FailingMalloc, nth: int
) -> None:
    """The first allocation of that size is the buffer's, the second that of the bytes it becomes."""
    program = f"""{HEADS}
    from shardproxy.http1.splice import Scratch, forwarded_request
    large, small, scratch = Head(), Head(), Scratch()
    large.read(request + few + b"X-Field: " + b"x" * 20_000 + end + end)
    small.read(request + few + end)
    with orders.refuse(pid, nth={nth}, least=20_000, most=50_000):
        try:
            print(len(forwarded_request(large, scratch=scratch)))
        except MemoryError:
            print("MemoryError", orders.refused)
    print(forwarded_request(small, scratch=scratch) == forwarded_request(small))
    """
    assert malloc.run(program).split("\n") == ["MemoryError 1", "True"]
