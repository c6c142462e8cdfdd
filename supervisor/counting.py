"""The better of the two programs that choose a socket for a new connection: it counts, so nothing is left to chance.

A table in kernel memory says which socket each of the next connections gets; the program takes the next line of it:

    position ──┐ one more for each new connection, modulo the lines
    table   [2][0][1][3][2][0][1][3] ...          written by us, through shared memory

In the table every socket has lines in proportion to its share, spread as evenly as can be over every stretch of it
(the bit-reversed order of van der Corput): 200 connections over four equal sockets are 50 each, however fast they come.

Tried: beginning with the largest share whenever the table is written.  It is greedier, and where a connection takes
0.3 s to arrive it overshoots, to differences larger than a hash would give.

This is eBPF, which the kernel grants only to those with CAP_BPF (since Linux 5.8) or CAP_SYS_ADMIN, so to a supervisor
that runs as root; everybody else steers by `drawing`.  Needs Linux 5.12 for the atomic instruction.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import socket
import struct
from array import array
from collections.abc import Sequence
from functools import cache
from operator import itemgetter
from pathlib import Path

SO_ATTACH_REUSEPORT_EBPF = 52
FEWEST_LINES = 256
# As many lines as this for each socket, so that shares can differ by that factor.
LINES_EACH = 8

_CAP_SYS_ADMIN, _CAP_BPF = 21, 39

# bpf(2), where the two registers of an instruction lie in its second byte as below.
_SYSCALLS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361}
_MAP_CREATE, _PROG_LOAD = 0, 5
_MAP_TYPE_ARRAY, _F_MMAPABLE = 2, 1 << 10
_PROG_TYPE_SOCKET_FILTER = 1

_POSITION = struct.Struct("=Ixxxx")  # what the map begins with; lines of 16 bits follow
_INSTRUCTION = struct.Struct("=BBhi")  # struct bpf_insn: code, registers, offset, immediate


def is_permitted() -> bool:
    """Whether the kernel is likely to grant it.

    Where system calls are filtered nobody asks: the filter may kill those who do.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return False
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    capabilities = int(status.get("CapEff", "0"), 16)
    is_capable = bool(capabilities >> _CAP_SYS_ADMIN & 1 or capabilities >> _CAP_BPF & 1)
    return is_capable and status.get("Seccomp", "0").strip() == "0" and platform.machine() in _SYSCALLS


class Counting:
    """One group's table and program, for groups of up to `sockets` sockets.  Raises `OSError` if it is not granted."""

    def __init__(self, sockets: int) -> None:
        self._lines = max(FEWEST_LINES, 1 << (sockets * LINES_EACH - 1).bit_length())
        size = _POSITION.size + 2 * self._lines
        map_fd = _create_map(size)
        try:
            self._program = _load(map_fd, self._lines)
            try:
                self._table = mmap.mmap(map_fd, size)
            except BaseException:
                os.close(self._program)
                raise
        finally:
            os.close(map_fd)

    def __repr__(self) -> str:
        return f"<Counting position={self.position} lines={self._lines}>"

    @property
    def position(self) -> int:
        """How many connections it has been asked for, modulo 2^32."""
        return int(_POSITION.unpack_from(self._table)[0])

    def suits(self, sockets: int) -> bool:
        """Whether a group of that size has enough lines."""
        return sockets * LINES_EACH <= self._lines

    def attach(self, member: socket.socket) -> None:
        """From now on this program chooses for the group of `member`.  Raises `OSError`."""
        member.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, self._program)

    def write(self, shares: Sequence[int]) -> None:
        """From now on socket `i` gets `shares[i]` of the sum; the group must not be larger than `suits` says."""
        self._table[_POSITION.size :] = table(shares, self._lines).tobytes()

    def close(self) -> None:
        """Whatever has been attached stays."""
        self._table.close()
        os.close(self._program)


def table(shares: Sequence[int], lines: int) -> array[int]:
    """Which socket gets each of `lines` (a power of two) successive connections."""
    total, done = sum(shares), 0
    stretches: list[int] = []
    for index, share in enumerate(shares):
        done += share
        stretches += [index] * (done * lines // total - len(stretches))
    return array("H", _bit_reversed(lines)(stretches))


@cache
def _bit_reversed(lines: int) -> itemgetter[tuple[int, ...]]:
    """Takes a list of `lines` items in the order of van der Corput: 0, 1/2, 1/4, 3/4, 1/8 ..."""
    width = lines.bit_length() - 1
    return itemgetter(*(int(f"{number:0{width}b}"[::-1], 2) for number in range(lines)))


def _create_map(size: int) -> int:
    attributes = struct.pack("=IIIII", _MAP_TYPE_ARRAY, 4, size, 1, _F_MMAPABLE)
    return _bpf(_MAP_CREATE, attributes)


def _load(map_fd: int, lines: int) -> int:
    code = b"".join(_INSTRUCTION.pack(*each) for each in _instructions(map_fd, lines))
    program, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"Apache-2.0")
    addresses = ctypes.addressof(program), ctypes.addressof(licence)
    attributes = struct.pack("=IIQQ", _PROG_TYPE_SOCKET_FILTER, len(code) // _INSTRUCTION.size, *addresses)
    return _bpf(_PROG_LOAD, attributes)


def _instructions(map_fd: int, lines: int) -> list[tuple[int, int, int, int]]:
    """Code, registers (target, and source in the upper four bits), offset, immediate: include/uapi/linux/bpf.h."""
    return [
        (0x18, 0x21, 0, map_fd),  # r1 = address of the map's value (BPF_PSEUDO_MAP_VALUE), in two instructions
        (0x00, 0x00, 0, 0),
        (0xB4, 0x02, 0, 1),  # w2 = 1
        (0xC3, 0x21, 0, 0x01),  # w2 = position++, atomically (BPF_ADD | BPF_FETCH)
        (0x54, 0x02, 0, lines - 1),  # w2 &= lines - 1
        (0x64, 0x02, 0, 1),  # w2 <<= 1
        (0x0F, 0x21, 0, 0),  # r1 += r2
        (0x69, 0x10, _POSITION.size, 0),  # r0 = that line
        (0x95, 0x00, 0, 0),  # the answer is r0
    ]


def _bpf(command: int, attributes: bytes) -> int:
    """bpf(2), for which libc has no function; returns a descriptor that is closed on exec.  Raises `OSError`."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result = libc.syscall(_SYSCALLS[platform.machine()], command, buffer, len(attributes))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)
