from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.supervisor.drawing import INSTRUCTION, MAX_INSTRUCTIONS, RANGE_BITS, program

SHARES = st.lists(st.integers(0, 10**6), min_size=1, max_size=512).filter(any)


def answer(code: bytes, drawn: int) -> int:
    """What the kernel's interpreter would answer to this random number."""
    instructions = list(INSTRUCTION.iter_unpack(code))
    at = accumulator = 0
    while True:
        operation, yes, no, k = instructions[at]
        at += 1
        if operation == 0x20:
            accumulator = drawn
        elif operation == 0x74:
            accumulator >>= k
        elif operation == 0x35:
            at += yes if accumulator >= k else no
        elif operation == 0x06:
            return int(k)
        else:
            raise AssertionError(f"{operation:#x} is not an instruction of this program")


@given(SHARES, st.integers(0, 2**32 - 1))
def test_whatever_is_drawn_the_answer_is_a_socket_with_a_share(shares: list[int], drawn: int) -> None:
    assert shares[answer(program(shares), drawn)] > 0


@pytest.mark.parametrize("shares", [[1, 1, 1, 1], [0, 5, 1, 0], [3], [0, 0, 7], [1, 2, 3, 4]])
def test_each_socket_has_a_part_of_the_range_as_large_as_its_share(shares: list[int]) -> None:
    code, draws = program(shares), 10_000
    answers = [answer(code, (2**32 - 1) * number // (draws - 1)) for number in range(draws)]
    for index, share in enumerate(shares):
        assert answers.count(index) == pytest.approx(draws * share / sum(shares), abs=2)


@given(SHARES)
def test_the_number_of_instructions_is_bounded(shares: list[int]) -> None:
    assert len(program(shares)) // INSTRUCTION.size <= min(MAX_INSTRUCTIONS, 2 * len(shares) + 1)


def test_no_comparison_is_beyond_the_range() -> None:
    bounds = [k for code, _, _, k in INSTRUCTION.iter_unpack(program([1] * 512)) if code == 0x35]
    assert bounds == sorted(bounds)
    assert bounds[-1] < 1 << RANGE_BITS


def test_an_instruction_is_what_the_kernel_calls_sock_filter() -> None:
    assert INSTRUCTION.size == struct.calcsize("@HBBI") == 8


def test_without_a_share_or_with_too_many_there_is_no_program() -> None:
    with pytest.raises(ValueError, match="nobody"):
        program([0, 0])
    with pytest.raises(ValueError, match="2048 sockets are more"):
        program([1] * 2048)
