"""Building what a worker would serve, and serving nothing, so that it is known beforehand whether that works."""

from __future__ import annotations

import uvloop

from shardproxy.config.schema import Config
from shardproxy.proxy.process import Process
from shardproxy.shm.addresses import Addresses
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.shm.waiters import Waiters
from shardproxy.worker.build import build
from shardproxy.worker.log_files import LogFiles
from shardproxy.worker.snapshot import Worksite

_ROW = 1


def rehearse(config: Config, segment: Segment, slots: Slots) -> None:
    """Raises whatever stands in the way; `segment` is one that nobody uses."""
    loop = uvloop.new_event_loop()
    try:
        gauges, metrics = Gauges(segment, _ROW), Metrics(segment, _ROW)
        process = Process(loop, gauges, Addresses(segment, _ROW), metrics, slots.counter, slots.histogram)
        waiters, logs = Waiters(segment, _ROW), LogFiles(is_rehearsal=True)
        build(Worksite(process, segment, gauges, metrics, waiters, logs=logs), config, slots)
    finally:
        loop.close()
