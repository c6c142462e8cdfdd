"""Runs the operations; started by `counting` under callgrind, which writes a dump of the instructions of each run.

The first run of an operation makes what it looks at warm: entries exist, names are resolved. Then it runs N times and
2N times; the difference is that of N times in the midst of others, without what begins and ends a run.
"""

from __future__ import annotations

import os
import random

REPEATS = 640  # N; a multiple of catalog.TURNS
RUNS = (REPEATS, REPEATS, 2 * REPEATS)
SEED = 7


def main() -> None:
    # Secrets and seeds decide how hashes collide, so they are the same each time; before anything asks for one.
    setattr(os, "urandom", random.Random(SEED).randbytes)  # noqa: B010  (mypy would not have a plain assignment)
    from loadtests.micro.catalog import CAPACITIES, NOTHING, OPERATIONS
    from shardproxy.shm.segment import Segment

    for counted in (NOTHING, *OPERATIONS):
        segment = Segment.create(CAPACITIES)
        operation = counted.prepare(segment)
        for times in RUNS:
            operation.run(times)
        segment.close()
        print(counted.name, flush=True)


if __name__ == "__main__":
    main()
