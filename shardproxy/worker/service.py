"""What the worker serves at the moment, and the change to another configuration without losing anybody.

    prepare ── builds the new snapshot beside the old one; nothing is touched
    commit  ── doors, connections and pools go over to it, in one turn of the loop
    abort   ── forgets it

A request under way keeps the runtime that it began with, and frees it when it ends.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass

from shardproxy.config.schema import Config
from shardproxy.observe import shortages
from shardproxy.shm.slots import Slots
from shardproxy.worker.accept import Acceptor
from shardproxy.worker.build import build
from shardproxy.worker.overload import OverloadCare
from shardproxy.worker.snapshot import Snapshot, Worksite


@dataclass(frozen=True)
class Candidate:
    """A configuration that waits for its commit."""

    version: int
    config: Config
    slots: Slots
    snapshot: Snapshot
    sockets: Mapping[str, socket.socket]


class Service:
    """The owner of the snapshot that is being served, and of the doors."""

    def __init__(self, site: Worksite, config: Config, slots: Slots, version: int = 1) -> None:
        self._site = site
        self._snapshot = build(site, config, slots, version=version)
        self._acceptor = Acceptor(site.process)
        self._overload = OverloadCare(site.process, self._acceptor.pause, self._acceptor.resume)
        self._rules = config.overload, slots
        self._candidate: Candidate | None = None

    def start(self, sockets: Mapping[str, socket.socket]) -> None:
        self._acceptor.start(self._snapshot.listeners, sockets)
        self._overload.follow(*self._rules)

    # Another configuration -----------------------------------------------------------------------------------------

    def prepare(self, version: int, config: Config, slots: Slots, sockets: Mapping[str, socket.socket]) -> None:
        """Build it.  Whatever it raises, nothing has changed; the sockets are then still the caller's."""
        snapshot = build(self._site, config, slots, self._snapshot, version)
        self.abort()
        self._candidate = Candidate(version, config, slots, snapshot, sockets)

    def abort(self) -> None:
        if self._candidate is not None:
            for sock in self._candidate.sockets.values():
                sock.close()
            self._candidate = None

    async def commit(self, version: int) -> bool:
        """Serve what was prepared; false if that was not `version`."""
        candidate, self._candidate = self._candidate, None
        if candidate is None or candidate.version != version:
            return False
        former, self._snapshot = self._snapshot, candidate.snapshot
        self._move_clients(former)
        self._site.forget_queues({cluster.name for cluster in candidate.config.clusters if cluster.queue is not None})
        for key in former.pools.keys() - candidate.snapshot.pools.keys():
            former.pools[key].retire()
        await self._acceptor.change(candidate.snapshot.listeners, candidate.sockets)
        self._overload.follow(candidate.config.overload, candidate.slots)
        return True

    def _move_clients(self, former: Snapshot) -> None:
        """Kept connections go on under the listener of the same name; those of one that is gone are to end.

        Cost: one step for each connection, once in a reload."""
        listeners = self._snapshot.listeners
        for name in former.listeners.keys() - listeners.keys():
            former.listeners[name].is_leaving = True
        for client in self._site.process.clients:
            if client.listener_name in listeners:
                client.move_to(listeners[client.listener_name])

    def reopen_logs(self) -> None:
        self._site.logs.reopen()

    def close_logs(self) -> None:
        self._site.logs.close()

    def tick(self) -> None:
        """To be called every 50 ms."""
        self._overload.tick()
        self._site.logs.tick()
        shortages.tell()

    def stop_caring(self) -> None:
        """Nothing is done because of overload any more."""
        self._overload.follow(None, self._rules[1])

    # The end -------------------------------------------------------------------------------------------------------

    async def stop_accepting(self, *, is_succeeded: bool) -> None:
        """Close the doors, after whoever waits before them has come in, or left to a successor."""
        if is_succeeded:
            self._acceptor.hand_over()
        else:
            await self._acceptor.stop()

    def begin_to_leave(self) -> None:
        """From now on every response says that its connection ends, and no connection to an endpoint is kept."""
        self._site.process.is_draining = True
        for listener in self._snapshot.listeners.values():
            listener.is_leaving = True
        for pool in self._snapshot.pools.values():
            pool.close_idle()
