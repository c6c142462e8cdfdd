"""The shared memory of a former process of this service, which systemd has kept: its counters and buckets go on.

Nobody who counted in it lives any more, so every row is cleared first.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping

from shardproxy.config.schema import Config, worker_count
from shardproxy.control.plan import Plan, UnreadablePlan
from shardproxy.limits.tables import set_rates
from shardproxy.shm.layout import Capacities
from shardproxy.shm.rows import State
from shardproxy.shm.segment import ForeignLayout, Segment
from shardproxy.shm.slots import Slots, SlotsFull
from shardproxy.supervisor.freeing import assign
from shardproxy.supervisor.memory import SUPERVISOR_ROW, Memory

# What they are called in systemd's store.
SEGMENT, PLAN = "segment", "plan"

logger = logging.getLogger(__name__)


def revive(kept: Mapping[str, int], config: Config) -> tuple[Memory, Slots] | None:
    """What was kept, if it can be used for `config`; None otherwise.  All descriptors of `kept` are taken over."""
    fds = dict(kept)
    try:
        if SEGMENT not in fds or PLAN not in fds:
            return None
        return _revive(fds, config)
    except (ForeignLayout, UnreadablePlan, SlotsFull) as reason:
        logger.warning("the shared memory that systemd has kept is not used: %s", reason)
        return None
    finally:
        for fd in fds.values():
            os.close(fd)


def _revive(fds: dict[str, int], config: Config) -> tuple[Memory, Slots]:
    segment = Segment.attach(fds[SEGMENT])
    del fds[SEGMENT]  # it is the segment's now
    try:
        slots = Slots.restored(segment.capacities, Plan.read(fds[PLAN], segment.capacities).slots.in_order())
        _check_room(segment.capacities, config)
        memory = Memory(segment)
        _clear(memory)
        assign(config, slots, segment, 1)
        set_rates(config, segment, slots, time.monotonic_ns())
    except BaseException:
        segment.close()
        raise
    logger.info("the shared memory that systemd has kept goes on")
    return memory, slots


def _check_room(capacities: Capacities, config: Config) -> None:
    if 1 + 2 * (worker_count(config) + 1) > capacities.rows:
        raise SlotsFull(f"it has {capacities.rows} rows, too few for the workers")


def _clear(memory: Memory) -> None:
    """The rows of the dead; the supervisor's too, except for what was counted."""
    used = range(memory.segment.capacities.rows)
    for row in used:
        if memory.rows.state(row) is not State.GONE and row != SUPERVISOR_ROW:
            memory.clear_row(row)
    memory.rows.release(SUPERVISOR_ROW)
