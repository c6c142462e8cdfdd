from typing import NamedTuple

from shardproxy.proxy.timers import Wheel
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.waiters import Waiters

class QueueNumbers(NamedTuple):
    """Slots: the queues of who is first, of who would make way and of who asks for that; the gauge of those who wait,
    counters, and the histogram of waiting times."""

    queue: int
    end: int
    asking: int
    waiting: int
    queued: int
    timeouts: int
    refused: int
    time: int

class Queue:
    """This worker's part of the line before one cluster. It outlives configurations, as those who wait in it do."""

    is_empty: bool
    def __init__(
        self, wheel: Wheel, gauges: Gauges, metrics: Metrics, waiters: Waiters, numbers: QueueNumbers
    ) -> None: ...
    def awake(self) -> None:
        """The own bell has rung: there may be a free place, for the first of this worker or of another."""
