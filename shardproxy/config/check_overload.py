"""What is wrong with `overload`."""

from __future__ import annotations

from collections.abc import Iterator

from shardproxy.config.findings import Finding
from shardproxy.config.overload import ACTIONS
from shardproxy.config.schema import Config


def overload_ends_below_where_it_begins(config: Config) -> Iterator[Finding]:
    for name in ACTIONS:
        threshold = getattr(config.overload, name, None)
        if threshold is not None and threshold.end >= threshold.at:
            yield ("overload", name, "until"), f"must be less than at ({threshold.at})"
