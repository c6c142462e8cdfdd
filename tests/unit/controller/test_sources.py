"""The sources of a configuration: which are asked, what a reload changes, and how long the proxy waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from shardproxy.config.load import parse
from shardproxy.config.schema import Config
from shardproxy.control.found import decode, overlaid
from shardproxy.control.messages import Answer
from shardproxy.controller.discovery.changes import Changes
from shardproxy.controller.discovery.dns import DnsName
from shardproxy.controller.discovery.files import EndpointsFile
from shardproxy.controller.discovery.watching import PATIENCE_S, Discovery
from shardproxy.controller.failures import Failures
from shardproxy.shm.layout import Capacities
from shardproxy.shm.slots import Slots
from tests.unit.controller.counting import tasks, until

SLOTS = Slots(Capacities())


class Town:
    """Two clusters whose endpoints stand in files, one whose endpoints are in DNS, and one that has none of these."""

    def __init__(self, folder: Path) -> None:
        text = f"""
listeners: [{{bind: 127.0.0.1:80, routes: [{{match: {{prefix: /}}, cluster: one}}]}}]
clusters:
  - {{name: one, endpoints_file: {folder}/one.yaml}}
  - {{name: two, endpoints_file: {folder}/two.yaml}}
  - {{name: named, dns: {{name: "dns://a.test:80", resolver: "127.0.0.1:9"}}}}
  - {{name: fixed, endpoints: [127.0.0.1:1]}}
"""
        self.config = parse(text, "test", {})
        self.version = 1
        self.discovery = Discovery(Changes(lambda: (self.config, self.version), self.ask), Failures())

    async def ask(self, found: bytes, version: int) -> Answer:
        self.config, self.version = overlaid(self.config, decode(found)), version + 1
        return Answer(1, True, "done")

    def only(self, *names: str) -> Config:
        return replace(self.config, clusters=tuple(each for each in self.config.clusters if each.name in names))

    def ports(self, cluster: str) -> list[int]:
        found = next(each for each in self.config.clusters if each.name == cluster)
        return [each.address.port for each in found.endpoints]


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Callable[[Town], Awaitable[None]]], None]:
    def run_it(story: Callable[[Town], Awaitable[None]]) -> None:
        async def play() -> None:
            async with asyncio.timeout(20):
                town = Town(tmp_path)
                try:
                    await story(town)
                finally:
                    town.discovery.stop()

        asyncio.run(play())

    return run_it


Run = Callable[[Callable[[Town], Awaitable[None]]], None]


def test_each_cluster_with_a_source_has_one_of_its_kind(run: Run) -> None:
    async def story(town: Town) -> None:
        town.discovery.follow(town.config, SLOTS)
        kinds = {source.cluster: type(source) for source, _ in town.discovery._running.values()}
        assert kinds == {"one": EndpointsFile, "two": EndpointsFile, "named": DnsName}
        stats = town.discovery.stats()
        assert {name: each.source.rpartition("/")[2] for name, each in stats.items()} == {
            "one": "one.yaml", "two": "two.yaml", "named": "a.test:80",
        }  # fmt: skip

    run(story)


def test_what_a_source_finds_becomes_the_clusters_endpoints(run: Run, tmp_path: Path) -> None:
    async def story(town: Town) -> None:
        (tmp_path / "one.yaml").write_text("- 127.0.0.1:11\n- 127.0.0.1:12\n")
        (tmp_path / "two.yaml").write_text("- 127.0.0.1:21\n")
        town.discovery.follow(town.only("one", "two"), SLOTS)
        await until(lambda: town.ports("one") == [11, 12] and town.ports("two") == [21])
        assert all(each.is_good for each in town.discovery.stats().values())

    run(story)


def test_a_reload_keeps_sources_that_are_the_same_ends_others_and_begins_new_ones(run: Run) -> None:
    async def story(town: Town) -> None:
        town.discovery.follow(town.only("one", "two"), SLOTS)
        before = dict(town.discovery._running)
        town.discovery.follow(town.only("one", "named"), SLOTS)
        after = town.discovery._running
        assert {key[0] for key in after} == {"one", "named"}
        kept = next(key for key in after if key[0] == "one")
        assert after[kept] is before[kept]
        gone = next(key for key in before if key[0] == "two")
        await asyncio.gather(before[gone][1], return_exceptions=True)
        assert before[gone][1].cancelled()

    run(story)


def test_the_proxy_waits_for_the_first_word_of_each_source(run: Run, tmp_path: Path) -> None:
    async def story(town: Town) -> None:
        assert town.discovery.why_not_ready() is None
        (tmp_path / "one.yaml").write_text("- 127.0.0.1:11\n")
        town.discovery.follow(town.only("one", "two"), SLOTS)
        assert town.discovery.why_not_ready() == "the endpoints of one, two are not known yet"
        await until(lambda: town.discovery.why_not_ready() is None)  # of `two` it is known that there is no file
        assert not town.discovery.stats()["two"].is_good

    run(story)


def test_it_does_not_wait_for_longer_than_three_seconds(run: Run) -> None:
    async def story(town: Town) -> None:
        assert PATIENCE_S == 3
        left_s = town.discovery._give_up_s - asyncio.get_running_loop().time()
        assert 2 < left_s <= 3
        town.discovery.follow(town.only("one"), SLOTS)
        town.discovery._give_up_s -= left_s
        assert town.discovery.why_not_ready() is None

    run(story)


def test_once_stopped_nobody_is_asked_any_more(run: Run) -> None:
    async def story(town: Town) -> None:
        others = tasks()
        town.discovery.follow(town.config, SLOTS)
        begun = tasks() - others
        assert len(begun) == 3
        town.discovery.stop()
        await asyncio.gather(*begun, return_exceptions=True)
        assert all(task.cancelled() for task in begun)
        assert town.discovery.stats() == {}

    run(story)
