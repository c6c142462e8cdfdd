"""Other endpoints for some clusters while the proxy runs, as the controller has found them: a reload without a file.

The file knows nothing of it.  So a reload takes what the file says, while a hot restart and the death of any process
leave what was found (`home.edited` says of which clusters).
"""

from __future__ import annotations

from collections.abc import Callable

from shardproxy.config.schema import Config
from shardproxy.control.found import decode, overlaid
from shardproxy.supervisor.care import Care
from shardproxy.supervisor.operations import Outcome
from shardproxy.supervisor.reload import Refusal, Reload, with_names_found
from shardproxy.supervisor.requests import Request
from shardproxy.supervisor.state import Household

MOVED_ON = "another configuration is served by now"


class Endpoints(Reload):
    """One change of endpoints, of one cluster or of several."""

    def __init__(self, home: Household, care: Care, scale: Callable[[int], None], request: Request) -> None:
        super().__init__(home, care, scale)
        self._request = request
        self._former = home.config
        self._names: tuple[str, ...] = ()

    def _wanted(self) -> Config:
        if self._request.version != self._home.version:
            raise Refusal(MOVED_ON)
        try:
            found = decode(self._request.found)
        except ValueError as error:
            raise Refusal(f"the endpoints cannot be read: {error}") from None
        self._names = tuple(found)
        return overlaid(self._home.config, found)

    def _commit(self, now_ns: int) -> None:
        self._former = self._home.config
        edited = self._home.edited.union(self._names)
        super()._commit(now_ns)
        self._home.edited = edited

    def _served(self) -> Outcome:
        return Outcome(True, "; ".join(_news(name, self._former, self._home.config) for name in self._names))


def _news(name: str, former: Config, config: Config) -> str:
    """`cluster app: 3 endpoints, 1 added, 0 removed, 2 changed`."""
    before, after = _by_address(name, former), _by_address(name, config)
    changed = sum(before[address] != after[address] for address in before.keys() & after.keys())
    added, removed = len(after.keys() - before.keys()), len(before.keys() - after.keys())
    return f"cluster {name}: {len(after)} endpoints, {added} added, {removed} removed, {changed} changed"


def _by_address(name: str, config: Config) -> dict[str, object]:
    found = [cluster for cluster in config.clusters if cluster.name == name]
    return {str(each.address): each for cluster in found for each in cluster.endpoints}


def carried_over(config: Config, former: Config, edited: frozenset[str]) -> Config:
    """`config`, fresh from the file, with what `former` has found at run time for the clusters that are `edited`.

    A cluster that now has another source begins with that one; an endpoints file has been read just now.
    """
    config = with_names_found(config, former)
    known = {(one.name, one.dns): one.endpoints for one in former.clusters if one.name in edited}
    kept = [one for one in config.clusters if (one.name, one.dns) in known and not one.endpoints_file]
    return overlaid(config, {one.name: known[one.name, one.dns] for one in kept})
