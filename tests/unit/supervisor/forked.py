"""What a child does in the tests of forks: it tells what it finds, and ends."""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import signal
from pathlib import Path

from shardproxy.control.messages import Refused
from shardproxy.control.seat import Seat
from shardproxy.shm.rows import Rows
from shardproxy.supervisor.signals import TABLE

EXIT_CODE = 37


def open_descriptors() -> list[int]:
    gc.collect()  # of what nobody uses any more none is counted
    found = [int(each.name) for each in Path("/proc/self/fd").iterdir()]
    return sorted(fd for fd in found if os.path.lexists(f"/proc/self/fd/{fd}"))


def tell(seat: Seat) -> int:
    rows = Rows(seat.segment)
    facts = {
        "seat": [seat.name, seat.row, seat.generation, seat.version],
        "listeners": sorted(seat.listeners),
        "descriptors": open_descriptors(),
        "own": sorted(
            [0, 1, 2, seat.segment.fd, *seat.bells, seat.channel.fileno()]
            + [one.fileno() for one in seat.listeners.values()]
        ),
        "row": [rows.pid(seat.row) == os.getpid(), rows.kind(seat.row).name, rows.generation(seat.row)],
        "ignores": [signal.getsignal(number) == signal.SIG_IGN for number in TABLE if number != signal.SIGCHLD],
        "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "cpus": sorted(os.sched_getaffinity(0)),
        "user": os.getuid(),
        "shows_stacks": faulthandler.is_enabled(),
    }
    seat.channel.send(Refused(1, json.dumps(facts)))
    return EXIT_CODE


def returns_nothing(seat: Seat) -> None:
    """As an entry that forgets its exit code."""
