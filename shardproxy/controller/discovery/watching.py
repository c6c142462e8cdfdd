"""All sources of the configuration that is served: one task each, so that none waits for another."""

from __future__ import annotations

import asyncio

from shardproxy.config.schema import Cluster, Config, Dns
from shardproxy.control.background import background
from shardproxy.controller.discovery.changes import Changes
from shardproxy.controller.discovery.dns import DnsName
from shardproxy.controller.discovery.files import EndpointsFile
from shardproxy.controller.discovery.source import Source
from shardproxy.controller.failures import Failures
from shardproxy.controller.stats import SourceStats
from shardproxy.shm.slots import Slots

# How long the proxy is not ready for want of the first answers; then it is, and answers 503 where there are none.
PATIENCE_S = 3.0

Key = tuple[str, str | Dns]


class Discovery:
    """Keeps one source running for each cluster that has one; only inside a running loop."""

    def __init__(self, changes: Changes, failures: Failures) -> None:
        self._changes = changes
        self._failures = failures
        self._running: dict[Key, tuple[Source, asyncio.Task[None]]] = {}
        self._give_up_s = asyncio.get_running_loop().time() + PATIENCE_S

    def follow(self, config: Config, slots: Slots) -> None:
        """Ask what `config` names.  A source that is the same goes on."""
        wanted = {key: cluster for cluster in config.clusters if (key := _key(cluster)) is not None}
        for key in self._running.keys() - wanted.keys():
            self._running.pop(key)[1].cancel()
        for key in wanted:
            if key not in self._running:
                source = self._source(*key)
                self._running[key] = source, background(source.run(self._failures))

    def stop(self) -> None:
        """Change nothing from now on."""
        for _, task in self._running.values():
            task.cancel()
        self._running.clear()

    def why_not_ready(self) -> str | None:
        """At the start, until each source has answered or failed, for a few seconds at most."""
        if asyncio.get_running_loop().time() >= self._give_up_s:
            return None
        silent = [source.cluster for source, _ in self._running.values() if not source.is_asked.is_set()]
        return f"the endpoints of {', '.join(silent)} are not known yet" if silent else None

    def stats(self) -> dict[str, SourceStats]:
        """By cluster."""
        return {source.cluster: source.stats() for source, _ in self._running.values()}

    def _source(self, cluster: str, what: str | Dns) -> Source:
        if isinstance(what, Dns):
            return DnsName(cluster, what, self._changes)
        return EndpointsFile(cluster, what, self._changes)


def _key(cluster: Cluster) -> Key | None:
    what = cluster.endpoints_file or cluster.dns
    return None if what is None else (cluster.name, what)
