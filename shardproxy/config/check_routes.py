"""What is wrong with routes: what they match, which of them can never win, and when they try again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from shardproxy.config.findings import Finding, repeated, routes
from shardproxy.config.matches import beginning, is_conditional, kinds_of
from shardproxy.config.places import Path
from shardproxy.config.schema import Config, Listener, Match, Retry

VALUE_TESTS = ("exact", "prefix", "suffix", "contains", "regex")
_MOST_NAMED = 3  # routes in one sentence


def matches_say_one_thing(config: Config) -> Iterator[Finding]:
    for path, match in matches(config):
        kinds = kinds_of(match)
        if not kinds:
            yield path, "needs prefix or path, such as prefix: /"
        if len(kinds) > 1:
            yield path, f"has both {kinds[0]} and {kinds[1]}; leave one of them out"
        if match.share is not None and match.share.header and match.share.cookie:
            yield (*path, "share"), "has both header and cookie; leave one of them out"
        yield from _values(path, match)


def _values(path: Path, match: Match) -> Iterator[Finding]:
    for where in ("headers", "query", "cookies"):
        for index, one in enumerate(getattr(match, where)):
            tests = [test for test in VALUE_TESTS if getattr(one, test) is not None]
            if len(tests) > 1:
                yield (*path, where, index), f"has both {tests[0]} and {tests[1]}; write it twice, with one each"


def every_route_can_win(config: Config) -> Iterator[Finding]:
    """A route loses every request if, for each of its hosts, an earlier one takes all that it would."""
    for number, listener in enumerate(config.listeners):
        yield from _losers(("listeners", number, "routes"), listener)


def retries_make_sense(config: Config) -> Iterator[Finding]:
    for path, route in routes(config):
        if route.retry is not None:
            yield from _retry((*path, "retry"), route.retry)


def hedges_make_sense(config: Config) -> Iterator[Finding]:
    for path, route in routes(config):
        if route.hedge is not None and (route.hedge.after or 0) >= route.timeout:
            yield (*path, "hedge", "after"), "must be less than the route's timeout"


def _retry(path: Path, retry: Retry) -> Iterator[Finding]:
    yield from repeated((*path, "on"), retry.on, "condition")
    yield from repeated((*path, "statuses"), [str(status) for status in retry.statuses], "status")
    if "retriable-status" in retry.on and not retry.statuses:
        yield path, "retriable-status needs statuses, such as statuses: [409]"
    if retry.statuses and "retriable-status" not in retry.on:
        yield (*path, "statuses"), "are used only if on has retriable-status"
    yield from repeated((*path, "headers"), [name.lower() for name in retry.headers], "field")
    if "retriable-headers" in retry.on and not retry.headers:
        yield path, "retriable-headers needs headers, such as headers: [X-Retry-Me]"
    if retry.headers and "retriable-headers" not in retry.on:
        yield (*path, "headers"), "are used only if on has retriable-headers"
    if retry.backoff.max is not None and retry.backoff.max < retry.backoff.base:
        yield (*path, "backoff", "max"), "must not be less than base"


def matches(config: Config) -> Iterator[tuple[Path, Match]]:
    for path, route in routes(config):
        yield (*path, "match"), route.match


def _losers(path: Path, listener: Listener) -> Iterator[Finding]:
    taken: dict[str | None, _Taken] = defaultdict(_Taken)
    for index, route in enumerate(listener.routes):
        hosts = route.match.hosts or (None,)
        winners = {taken[host].winner(route.match) for host in hosts}
        if None not in winners:
            yield (*path, index, "match"), f"can never win: all that it matches goes to {_routes(winners)} before it"
        if not is_conditional(route.match):
            for host in hosts:
                taken[host].add(route.match, index)


def _routes(winners: set[int | None]) -> str:
    """`routes[0]`, `routes[0] and routes[12]`; beyond three the rest is only counted."""
    numbers = sorted(number for number in winners if number is not None)
    names = [f"routes[{number}]" for number in numbers[:_MOST_NAMED]]
    if len(numbers) > _MOST_NAMED:
        return f"{', '.join(names)} and {len(numbers) - _MOST_NAMED} more"
    return " and ".join(names)


@dataclass
class _Taken:
    """What the routes of one host take; paths and prefixes lead to the first route that has them."""

    paths: dict[str, int] = field(default_factory=dict)
    prefixes: dict[str, int] = field(default_factory=dict)
    lengths: set[int] = field(default_factory=set)

    def add(self, match: Match, index: int) -> None:
        if match.prefix is not None:
            self.prefixes.setdefault(match.prefix, index)
            self.lengths.add(len(match.prefix))
        elif match.path is not None:
            self.paths.setdefault(match.path, index)
        elif match.path_prefix is not None:
            self.paths.setdefault(match.path_prefix.rstrip("/"), index)
            start = match.path_prefix.rstrip("/") + "/"
            self.prefixes.setdefault(start, index)
            self.lengths.add(len(start))

    def winner(self, match: Match) -> int | None:
        """The earliest route that takes all that `match` would; cost: the number of different prefix lengths."""
        if match.path_prefix is None:
            start = match.path or match.prefix or beginning(match)
            return self.covering(start, is_path=match.path is not None)
        whole = match.path_prefix.rstrip("/")
        both = self.covering(whole, is_path=True), self.covering(whole + "/", is_path=False)
        return None if both[0] is None or both[1] is None else max(both[0], both[1])

    def covering(self, start: str, *, is_path: bool) -> int | None:
        """The earliest route that takes this path, or everything that begins so."""
        found = [self.prefixes.get(start[:length]) for length in self.lengths]
        if is_path:
            found.append(self.paths.get(start))
        return min((index for index in found if index is not None), default=None)
