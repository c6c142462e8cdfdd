import asyncio
from collections.abc import Callable

from shardproxy.proxy.downstream import Downstream
from shardproxy.proxy.timers import Wheel
from shardproxy.proxy.watching import Watch
from shardproxy.shm.addresses import Addresses
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.metrics import Metrics

class Process:
    """What all connections of a worker share. `tick` is to be called every 50 ms: it serves timeouts and the date.

    While it `stops_keep_alive` each response says that its connection ends; requests of the classes from
    `refused_from` on (0 is the highest of three) are refused.
    """

    loop: asyncio.AbstractEventLoop
    wheel: Wheel
    watcher: Watch
    gauges: Gauges
    is_draining: bool
    stops_keep_alive: bool
    refused_from: int
    clients: set[Downstream]
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        gauges: Gauges,
        addresses: Addresses,
        metrics: Metrics,
        counter: Callable[[str], int],
        histogram: Callable[[str], int],
    ) -> None: ...
    def tick(self) -> None: ...
