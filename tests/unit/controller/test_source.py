"""A source of endpoints: changes that come of its word, problems that are told once, and what operators drain."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from shardproxy.config.load import parse
from shardproxy.config.schema import Config, Endpoint
from shardproxy.config.units import parse_address
from shardproxy.control.found import decode, overlaid
from shardproxy.control.messages import Answer
from shardproxy.controller.discovery.changes import Changes, Endpoints
from shardproxy.controller.discovery.source import NotFound, Source
from shardproxy.controller.failures import AGAIN_S, Failures
from shardproxy.controller.wishes import NotNow
from tests.unit.controller.counting import until

TEXT = """
listeners: [{bind: 127.0.0.1:80, routes: [{match: {prefix: /}, cluster: app}]}]
clusters: [{name: app, endpoints: [127.0.0.1:1]}]
"""
PAUSE_S = 7.0


class Scripted(Source):
    """Says what the test lets it say."""

    def __init__(self, changes: Changes) -> None:
        super().__init__("app", "a list", changes)
        self.says: Endpoints | Exception | None = None
        self.asked_in_full = 0

    async def ask(self) -> Endpoints | None:
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    def pause_s(self) -> float:
        return PAUSE_S

    def ask_in_full(self) -> None:
        self.asked_in_full += 1


class Town:
    """A supervisor that makes changes, or fails as it is told to; and a source."""

    def __init__(self) -> None:
        self.config = parse(TEXT, "test", {})
        self.version = 1
        self.fails: Exception | None = None
        self.changes = Changes(self.present, self.ask)
        self.source = Scripted(self.changes)

    def present(self) -> tuple[Config, int]:
        return self.config, self.version

    async def ask(self, found: bytes, version: int) -> Answer:
        if self.fails is not None:
            raise self.fails
        self.config, self.version = overlaid(self.config, decode(found)), version + 1
        return Answer(1, True, "done")

    @property
    def endpoints(self) -> dict[int, bool]:
        """Port, and whether it drains."""
        return {each.address.port: each.drain for each in self.config.clusters[0].endpoints}

    async def turn(self, says: Endpoints | Exception | None) -> float:
        self.source.says = says
        return await self.source.turn()


def at(*ports: int, drain: bool = False) -> Endpoints:
    return tuple(Endpoint(address=parse_address(f"127.0.0.1:{port}"), drain=drain) for port in ports)


def test_what_it_finds_is_what_the_cluster_has() -> None:
    async def story() -> None:
        town = Town()
        assert await town.turn(at(2, 3)) == PAUSE_S
        assert town.endpoints == {2: False, 3: False}
        assert await town.turn(None) == PAUSE_S
        assert town.endpoints == {2: False, 3: False}

    asyncio.run(story())


def test_without_an_answer_the_endpoints_stay_and_the_problem_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def story() -> None:
        town = Town()
        town_says = [NotFound("it is gone"), NotFound("it is gone"), NotFound("it is broken"), None, None]
        for says in town_says:
            assert await town.turn(says) == PAUSE_S
        assert town.endpoints == {1: False}

    asyncio.run(story())
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "cluster app keeps its endpoints: it is gone"),
        ("WARNING", "cluster app keeps its endpoints: it is broken"),
        ("INFO", "cluster app: a list is right again"),
    ]


def test_the_stats_tell_what_is_wrong_and_since_when_it_was_right() -> None:
    async def story() -> None:
        town = Town()
        stats = town.source.stats()
        assert (stats.source, stats.is_good, stats.problem, stats.answer_age_s) == ("a list", True, "", None)
        await town.turn(NotFound("it is gone"))
        stats = town.source.stats()
        assert (stats.is_good, stats.problem, stats.answer_age_s) == (False, "it is gone", None)
        await town.turn(at(2))
        town.source._answered_ns -= 7 * 10**9
        stats = town.source.stats()
        assert (stats.is_good, stats.problem) == (True, "")
        assert stats.answer_age_s is not None
        assert 7 <= stats.answer_age_s < 30
        assert stats.answer_age_s == round(stats.answer_age_s, 3)

    asyncio.run(story())


def test_a_refused_list_is_a_problem_of_the_source() -> None:
    async def story() -> None:
        town = Town()
        assert await town.turn(at(2, 2)) == PAUSE_S
        assert town.source.stats().problem == "cluster app has the endpoint 127.0.0.1:2 already"
        assert town.source.asked_in_full == 0

    asyncio.run(story())


@pytest.mark.parametrize(
    ("error", "problem"),
    [(NotNow("it is leaving"), "it is leaving"), (TimeoutError(), "the supervisor does not answer")],
)
def test_what_could_not_be_handed_on_is_found_again_soon(error: Exception, problem: str) -> None:
    async def story() -> None:
        town = Town()
        town.fails = error
        assert await town.turn(at(2)) == AGAIN_S
        assert town.source.stats().problem == problem
        assert town.source.asked_in_full == 1
        town.fails = None
        assert await town.turn(at(2)) == PAUSE_S
        assert town.endpoints == {2: False}

    asyncio.run(story())


def test_a_fault_of_ours_is_no_end_of_the_source_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        town = Town()
        failed: list[None] = []
        town.source.says = RuntimeError("it is broken")
        task = asyncio.create_task(town.source.run(Failures(lambda: failed.append(None))))
        await until(lambda: failed)
        assert town.source.is_asked.is_set()
        assert not town.source.stats().is_good
        assert town.source.asked_in_full == 1
        town.source.says = at(2)
        await until(lambda: town.endpoints == {2: False})
        assert town.source.stats().is_good
        task.cancel()

    asyncio.run(story())
    assert "the source a list of cluster app failed; it is tried again in 1 s" in caplog.text


def test_an_endpoint_that_an_operator_drains_goes_on_draining() -> None:
    async def story() -> None:
        town = Town()
        await town.turn(at(2, 3))
        await town.changes.change("app", lambda present: tuple(replace(each, drain=True) for each in present))
        await town.turn(at(2, 3, 4))
        assert town.endpoints == {2: True, 3: True, 4: False}

    asyncio.run(story())


def test_what_the_source_itself_drains_is_used_again_when_it_says_so() -> None:
    async def story() -> None:
        town = Town()
        await town.turn((*at(2), *at(3, drain=True)))
        assert town.endpoints == {2: False, 3: True}
        await town.turn(at(2, 3))
        assert town.endpoints == {2: False, 3: False}

    asyncio.run(story())


def test_a_list_that_was_not_handed_on_has_drained_nobody() -> None:
    async def story() -> None:
        town = Town()
        await town.turn(at(2))
        await town.changes.change("app", lambda present: tuple(replace(each, drain=True) for each in present))
        town.fails = TimeoutError()
        await town.turn(at(2, 3, drain=True))
        town.fails = None
        await town.turn(at(2, 3))
        assert town.endpoints == {2: True, 3: False}

    asyncio.run(story())


def test_its_first_word_is_waited_for_whatever_it_is() -> None:
    async def story() -> None:
        for says in (at(2), NotFound("x"), None):
            town = Town()
            assert not town.source.is_asked.is_set()
            await town.turn(says)
            assert town.source.is_asked.is_set()

    asyncio.run(story())


def test_it_is_known_by_cluster_and_name() -> None:
    async def story() -> None:
        assert repr(Town().source) == "<Scripted app a list>"

    asyncio.run(story())
