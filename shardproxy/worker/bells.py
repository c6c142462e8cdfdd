"""The bell of a worker: whoever rings it has seen a free place that may be for one who waits here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from shardproxy.proxy.queue import Queue
from shardproxy.shm.waiters import Waiters


def bell_reader(waiters: Waiters, queues: Mapping[str, Queue]) -> Callable[[], None]:
    """What to call when the own bell can be read."""

    def rung() -> None:
        try:
            os.eventfd_read(waiters.bell)
        except BlockingIOError:
            return
        for queue in list(queues.values()):
            queue.awake()

    return rung
