"""Six endpoints that are watched for outliers, and a clock that the test sets."""

from __future__ import annotations

import asyncio
import time

import msgspec

from shardproxy.config.schema import Cluster, Config, Endpoint, OutlierDetection
from shardproxy.config.units import Address
from shardproxy.controller.outliers import Team, Watching, team
from shardproxy.shm.decisions import Decisions
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.shm.words import Words
from shardproxy.supervisor.catalog import assign

S = 10**9
ENDPOINTS = 6
RULES = OutlierDetection(failure_percentage=50, max_ejection_percent=20)


class Game:
    """Six endpoints whose counters the test moves as workers would."""

    def __init__(self, segment: Segment, config: Config, rules: OutlierDetection = RULES) -> None:
        endpoints = tuple(Endpoint(address=Address("127.0.0.1", port)) for port in range(1, ENDPOINTS + 1))
        self.cluster = Cluster(name="app", endpoints=endpoints, outlier_detection=rules)
        self.config = msgspec.structs.replace(config, clusters=(self.cluster,))
        self.slots = Slots(msgspec.structs.replace(segment.capacities, histograms=20))
        assign(self.config, self.slots)
        self.cells, self.worker = Decisions(segment), Metrics(segment, 3)
        self.team: Team = team(self.cluster, self.slots)
        self.watching = Watching(self.team, Metrics(segment, 0), self.cells, Words(segment))
        self.now_ns = time.monotonic_ns()
        self.watching.begin(self.now_ns)

    def slot(self, index: int) -> int:
        return self.team.subjects[index].slot

    def out(self) -> set[int]:
        return {index for index in range(ENDPOINTS) if self.cells.is_out(self.slot(index))}

    def count(self, index: int, name: str, count: int) -> None:
        self.worker.count(getattr(self.team.subjects[index], name), count)

    def interval(self, *bad: int, kind: str = "errors", seconds: int = 10) -> set[int]:
        """A hundred requests to each that is not out, all of which go wrong at the `bad` ones; who is out then."""
        for index in set(range(ENDPOINTS)) - self.out():
            if index in bad and kind == "unreached":
                self.count(index, "unreached", 100)
                continue
            self.count(index, "requests", 100)
            if index in bad:
                self.count(index, kind, 100)
        self.now_ns += seconds * S
        self.watching.look(self.now_ns)
        return self.out()


class Day(Game):
    """The same, but looked at whenever the clock of the test says so."""

    def __init__(self, segment: Segment, config: Config, rules: OutlierDetection = RULES) -> None:
        super().__init__(segment, config, rules)
        metrics, words = Metrics(segment, 0), Words(segment)
        self.watching = Watching(self.team, metrics, self.cells, words, clock=lambda: self.now_ns)
        self.pause_s = 0.0

    def at(self, seconds: float) -> set[int]:
        """So long after the beginning; who is out then."""
        self.now_ns = 10**12 + round(seconds * S)
        self.pause_s = asyncio.run(self.watching.turn())
        return self.out()

    def go_badly(self, index: int) -> None:
        for each in range(ENDPOINTS):
            self.count(each, "requests", 100)
        self.count(index, "errors", 100)
