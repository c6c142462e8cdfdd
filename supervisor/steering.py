"""Kernel steering: of a SO_REUSEPORT group, which worker gets the next connection.

Left alone the kernel takes any (a hash of the addresses): of 200 connections to four workers one gets 40 and another
60, and some go to workers that are draining, or dead.  A program attached to the group decides instead.  There are two:
`counting` leaves nothing to chance but is granted to few, `drawing` is granted to everybody.  Both give each socket a
share of what comes; what the shares are is decided here, again and again:

    connections of each worker, accepted or waiting ──> shares ──> program or table in the kernel
    every 10 ms while connections come and go, every 50 ms otherwise
    every 2 ms while so many come that chance would show, if it is left to chance

A socket's index in its group is the order in which the sockets began to listen.  An index that no socket has, or no
program, means the hash again; so the worst that can happen is what was before.
"""

from __future__ import annotations

import logging
import math
import socket
import struct
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from shardproxy.supervisor import counting
from shardproxy.supervisor.counting import Counting
from shardproxy.supervisor.drawing import INSTRUCTION, program

SO_ATTACH_REUSEPORT_CBPF = 51
SO_DETACH_REUSEPORT_BPF = 68

HASTY_NS = 2_000_000
BUSY_NS = 10_000_000
QUIET_NS = 50_000_000
# Looking may not cost more than a thirtieth of one CPU, however many workers and listeners there are.
FEWEST_PAUSES = 30

# Differences are evened out over at least this part of all connections, so that a sudden crowd does not all go to the
# one worker that had a few less, ...
PART = 16
# ... and over those that end in this time.  A connection counts only when its handshake is over, one round trip after
# it was steered: evening out faster than that would overshoot to and fro.
HORIZON_NS = 200_000_000
# Where nothing is left to chance there is less to even out, and so it can be done more slowly.
CALM = 4

# struct tcp_info: of a listening socket, tcpi_unacked is how many wait to be accepted.
_WAITING = struct.Struct("=24xI")

# How often to look until two looks agree.
LOOKS = 3

Counts = Sequence[int | None]

logger = logging.getLogger(__name__)


def shares(counts: Counts, expected: int = 1) -> list[int]:
    """How many parts of what comes next each worker is to get, so that `expected` more connections make all equal.

    Like water that is poured into vessels: those above the common level in the end get nothing.  `None` is a worker
    that must get nothing; all shares are 0 only if all are `None`.  In lowest terms: equal counts give ones.
    """
    lowest_first = sorted(count for count in counts if count is not None)
    poured, vessels = max(1, expected), 0
    for count in lowest_first:  # the level is `poured` / `vessels`
        if vessels and count * vessels >= poured:
            break
        poured, vessels = poured + count, vessels + 1
    found = [0 if count is None else max(0, poured - count * vessels) for count in counts]
    divisor = math.gcd(*found) or 1
    return [each // divisor for each in found]


class Steering:
    """The steering of the group of `sockets`, worker `i` having the `i`-th; the sequence may grow and shrink.

    If the kernel refuses, one warning is logged, and from then on it chooses as it always did.
    """

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self._sockets = sockets
        self._shares: list[int] = []
        self._counting: Counting | None = None
        self._may_count = counting.is_permitted()
        self.is_refused = False

    def __repr__(self) -> str:
        how = "refused" if self.is_refused else "counting" if self._counting else "drawing"
        return f"<Steering {how} {self._shares}>"

    @property
    def leaves_nothing_to_chance(self) -> bool:
        return self._counting is not None

    def waiting(self) -> list[int]:
        """How many connections wait before each socket to be accepted; 0 for one that is closed."""
        return [_waiting(one) for one in self._sockets]

    def update(self, wanted: Sequence[int]) -> None:
        """From now on worker `i` gets `wanted[i]` of the sum of all; if that is 0, whoever the kernel chooses."""
        current = list(wanted[: len(self._sockets)])
        if current == self._shares or self.is_refused or not self._is_open():
            return
        self._shares = current
        try:
            self._follow(current)
        except OSError as error:
            logger.warning("the kernel does not steer connections (%s); it chooses workers by a hash", error.strerror)
            self.detach()
            self.is_refused = True

    def detach(self) -> None:
        """The kernel chooses by itself again; a later `update` takes over once more."""
        self._shares = []
        self._forget_counting()
        if self._is_open():
            with suppress(OSError):  # ENOENT: nothing was attached
                self._sockets[0].setsockopt(socket.SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0)

    def close(self) -> None:
        """Give back what the system lent; the kernel goes on with the last shares."""
        self._shares = []
        self._forget_counting()

    def _follow(self, current: list[int]) -> None:
        if sum(current) == 0:
            self.detach()
        elif not self._count(current):
            _attach(self._sockets[0], program(current))

    def _count(self, current: list[int]) -> bool:
        """By `Counting`, if we may."""
        if not self._may_count:
            return False
        if self._counting is not None and self._counting.suits(len(current)):
            self._counting.write(current)
            return True
        self._forget_counting()
        try:
            self._counting = Counting(len(current))
            self._counting.write(current)
            self._counting.attach(self._sockets[0])
        except OSError as error:
            logger.debug("connections are not counted in the kernel: %s", error.strerror)
            self._forget_counting()
            self._may_count = False
        return self._may_count

    def _forget_counting(self) -> None:
        if self._counting is not None:
            self._counting.close()
            self._counting = None

    def _is_open(self) -> bool:
        return bool(self._sockets) and self._sockets[0].fileno() >= 0


class Course:
    """What one group of sockets is steered by.

    `counts` tells the connections that each worker holds, `None` for one that must get no more; `accepted` how many all
    workers have ever accepted there.
    """

    def __init__(self, steering: Steering, counts: Callable[[], Counts], accepted: Callable[[], int]) -> None:
        self.steering = steering
        self._counts = counts
        self._accepted = accepted
        self._came = accepted()
        self._held = 0
        self._ended = 0.0
        self._looked_ns = 0
        self._moved_ns = 0

    def follow(self, now_ns: int) -> int:
        """Steer by what is the case now; returns after how long to look again."""
        counts, waiting = self._look()
        loads = [None if count is None else count + more for count, more in zip(counts, waiting, strict=True)]
        held, came = sum(load or 0 for load in loads), self._accepted() + sum(waiting)
        arrived = max(0, came - self._came)
        ended = max(0, self._held + arrived - held)
        self._came, self._held = came, held
        self._remember(arrived, ended, now_ns)
        self.steering.update(shares(loads, self._expected(len(loads), arrived)))
        return self._pause_ns(arrived, now_ns)

    def _look(self) -> tuple[Counts, list[int]]:
        """Who is held and who waits, at one moment if possible: who is accepted meanwhile would be missed."""
        counts = self._counts()
        for _ in range(LOOKS):
            before, waiting, counts = counts, self.steering.waiting(), self._counts()
            if before == counts:
                break
        waiting = waiting[: len(counts)]
        return counts, waiting + [0] * (len(counts) - len(waiting))

    def _expected(self, workers: int, arrived: int) -> int:
        """Over how many more connections to even out what is uneven now."""
        few = max(workers, 2 * arrived, self._held // PART, round(self._ended))
        return few * CALM if self.steering.leaves_nothing_to_chance else few

    def _pause_ns(self, arrived: int, now_ns: int) -> int:
        if now_ns - self._moved_ns >= HORIZON_NS:
            return QUIET_NS
        is_building_up = arrived * PART > self._held > self._ended
        return HASTY_NS if is_building_up and not self.steering.leaves_nothing_to_chance else BUSY_NS

    def _remember(self, arrived: int, ended: int, now_ns: int) -> None:
        """Keep `_ended` at how many end in `HORIZON_NS`, from the latest past."""
        kept = math.exp(-(now_ns - self._looked_ns) / HORIZON_NS)
        self._ended = self._ended * kept + ended
        self._looked_ns = now_ns
        if arrived or ended:
            self._moved_ns = now_ns


class Steersman:
    """Steers along all `courses`; has no thread: `steer` is to be called when `due_ns` has come, or at any time."""

    def __init__(self, courses: Iterable[Course] = ()) -> None:
        self.courses = list(courses)
        self._due_ns = 0

    def __repr__(self) -> str:
        return f"<Steersman {[course.steering for course in self.courses]}>"

    def due_ns(self) -> list[int]:
        """When `steer` has something to do, CLOCK_MONOTONIC; never, if there is nothing to steer."""
        return [self._due_ns] if self.courses else []

    def hurry(self) -> None:
        """Something has changed that `counts` will tell: a worker has died, is ready, or is to get no more."""
        self._due_ns = 0

    def steer(self, now_ns: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """Look at everything, if it is time to; `clock` tells what that costs."""
        if now_ns < self._due_ns:
            return
        began_ns = clock()
        pauses_ns = [course.follow(now_ns) for course in self.courses]
        cost_ns = clock() - began_ns
        self._due_ns = now_ns + max(min(pauses_ns, default=QUIET_NS), FEWEST_PAUSES * cost_ns)


def _attach(member: socket.socket, code: bytes) -> None:
    """SO_ATTACH_REUSEPORT_CBPF takes a struct sock_fprog: the number of instructions and their address."""
    instructions = array("B", code)
    prog = struct.pack("@HP", len(code) // INSTRUCTION.size, instructions.buffer_info()[0])
    member.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, prog)


def _waiting(one: socket.socket) -> int:
    try:
        return int(_WAITING.unpack_from(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _WAITING.size))[0])
    except (OSError, struct.error):
        return 0
