"""The program by which everybody may let the kernel choose a socket for a new connection: classic BPF, no privilege.

It runs for each SYN and answers with the index of a socket in its SO_REUSEPORT group.  Classic BPF has no memory from
one run to the next, so it cannot count and must draw: a random number, of whose range each worker has a part as large
as its share:

    random    0 ........ | .... | ............ | ...... 2^31
    worker        0      |  1   |      3       |   4           (2 has no share)

Tried instead of the random number: the client's port, since a host takes its ports in order.  Linux leaves out up to
seven at random (`__inet_hash_connect`), and then it was no more even: with 200 connections at 500/s over four workers
max/min was 1.10 by port and 1.06 by chance.

Instructions and special offsets: Linux's include/uapi/linux/filter.h and bpf_common.h.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate

INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter: code, jump if true, jump if false, k
MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS

# A comparison with 2^31 or more costs the kernel one instruction more.
RANGE_BITS = 31

_RANDOM = (-0x1000 + 56) & 0xFFFFFFFF  # SKF_AD_OFF + SKF_AD_RANDOM

_LOAD = 0x20  # A = u32 at k            BPF_LD | BPF_ABS | BPF_W
_SHIFT_RIGHT = 0x74  # A >>= k          BPF_ALU | BPF_RSH | BPF_K
_IF_AT_LEAST = 0x35  # A >= k           BPF_JMP | BPF_JGE | BPF_K
_RETURN = 0x06  # the answer is k       BPF_RET | BPF_K

_DRAW = ((_LOAD, 0, 0, _RANDOM), (_SHIFT_RIGHT, 0, 0, 32 - RANGE_BITS))


def program(shares: Sequence[int]) -> bytes:
    """The instructions that give socket `i` new connections in proportion to `shares[i]`, and none where that is 0.

    Two instructions for each socket that has a share.  Raises `ValueError` if nobody has one, or if more sockets have
    one than the kernel takes (2047).
    """
    total = sum(shares)
    if total <= 0:
        raise ValueError("nobody has a share")
    bounds = [(bound << RANGE_BITS) // total for bound in accumulate(shares)]
    chosen = [(index, bound) for index, (share, bound) in enumerate(zip(shares, bounds, strict=True)) if share]
    instructions = [*_DRAW]
    for index, bound in chosen[:-1]:
        instructions += [(_IF_AT_LEAST, 1, 0, bound), (_RETURN, 0, 0, index)]
    instructions.append((_RETURN, 0, 0, chosen[-1][0]))
    if len(instructions) > MAX_INSTRUCTIONS:
        raise ValueError(f"{len(chosen)} sockets are more than one program can choose from")
    return b"".join(INSTRUCTION.pack(*each) for each in instructions)
