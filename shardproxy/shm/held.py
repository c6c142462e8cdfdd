"""Says in the shared memory that a configuration is still used, so that nobody else gets the slots of its names."""

from __future__ import annotations

from shardproxy.shm import names
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.slots import Slots


class Held:
    """Counts in the gauge of configuration `version` for as long as it lives; a dead process's counts are cleared."""

    def __init__(self, gauges: Gauges, slots: Slots, version: int) -> None:
        self._gauges = gauges
        self._version = version
        self._slot = slots.gauge(names.configuration_held(version))
        gauges.add(self._slot, 1)

    def __repr__(self) -> str:
        return f"<Held configuration={self._version}>"

    def of(self, version: int, slots: Slots) -> Held:
        """The same for another configuration."""
        return Held(self._gauges, slots, version)

    def __del__(self) -> None:
        if hasattr(self, "_slot"):
            self._gauges.add(self._slot, -1)
