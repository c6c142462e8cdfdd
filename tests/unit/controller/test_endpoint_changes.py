"""Changes of endpoints: one at a time, what comes meanwhile together, and each refused for itself."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from shardproxy.config.load import parse
from shardproxy.config.schema import Config, Endpoint
from shardproxy.config.units import parse_address
from shardproxy.control.found import decode, overlaid
from shardproxy.control.messages import Answer
from shardproxy.controller.discovery.changes import MAX_WAITING, MOST_TRIES, Changes, Clash, Edit, Refused, Unknown
from shardproxy.controller.wishes import NotNow

CONFIG = parse(
    """
listeners: [{bind: 127.0.0.1:80, routes: [{match: {prefix: /}, cluster: app}]}]
clusters: [{name: app, endpoints: [127.0.0.1:1]}]
""",
    "test",
    {},
)


class Supervisor:
    """Does what it is asked for, when `may_answer` is set; `moves_on` reloads happen in between."""

    def __init__(self) -> None:
        self.config = CONFIG
        self.version = 1
        self.asked = 0
        self.moves_on = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def present(self) -> tuple[Config, int]:
        return self.config, self.version

    async def ask(self, found: bytes, version: int) -> Answer:
        self.asked += 1
        await self.may_answer.wait()
        if self.moves_on:
            self.moves_on -= 1
            self.version += 1
        if version != self.version:
            return Answer(self.asked, False, "another configuration is served by now")
        self.config, self.version = overlaid(self.config, decode(found)), version + 1
        return Answer(self.asked, True, "done")

    @property
    def addresses(self) -> list[str]:
        return [str(each.address) for each in self.config.clusters[0].endpoints]


def adding(port: int) -> Edit:
    return lambda present: (*present, Endpoint(address=parse_address(f"127.0.0.1:{port}")))


def test_changes_that_come_meanwhile_are_made_together() -> None:
    async def run() -> None:
        supervisor = Supervisor()
        changes = Changes(supervisor.present, supervisor.ask)
        supervisor.may_answer.clear()
        first = asyncio.create_task(changes.change("app", adding(2)))
        await asyncio.sleep(0)
        others = [asyncio.create_task(changes.change("app", adding(port))) for port in range(3, 20)]
        await asyncio.sleep(0)
        supervisor.may_answer.set()
        await asyncio.gather(first, *others)
        assert supervisor.addresses == [f"127.0.0.1:{port}" for port in range(1, 20)]
        assert supervisor.asked == 2

    asyncio.run(run())


def test_a_change_that_is_refused_fails_alone() -> None:
    async def run() -> None:
        supervisor = Supervisor()
        changes = Changes(supervisor.present, supervisor.ask)
        wanted = (("app", adding(1)), ("other", adding(2)), ("app", adding(3)))
        found = await asyncio.gather(*(changes.change(*each) for each in wanted), return_exceptions=True)
        assert [type(each) for each in found] == [Clash, Unknown, type(None)]
        assert supervisor.addresses == ["127.0.0.1:1", "127.0.0.1:3"]

    asyncio.run(run())


def test_a_reload_in_between_is_not_undone() -> None:
    async def run() -> None:
        supervisor = Supervisor()
        changes = Changes(supervisor.present, supervisor.ask)
        supervisor.moves_on = 2
        await changes.change("app", adding(2))
        assert (supervisor.asked, supervisor.addresses) == (3, ["127.0.0.1:1", "127.0.0.1:2"])

    asyncio.run(run())


def test_nothing_is_asked_for_when_nothing_changes_and_weights_go_through() -> None:
    async def run() -> None:
        supervisor = Supervisor()
        changes = Changes(supervisor.present, supervisor.ask)
        await changes.change("app", lambda present: present)
        assert supervisor.asked == 0
        await changes.change("app", lambda present: tuple(replace(each, weight=9) for each in present))
        assert supervisor.config.clusters[0].endpoints[0].weight == 9

    asyncio.run(run())


def test_a_refusal_of_the_supervisor_reaches_who_asked() -> None:
    async def run() -> None:
        async def refuse(found: bytes, version: int) -> Answer:
            return Answer(1, False, "the shared memory is full")

        with pytest.raises(Clash, match="full"):
            await Changes(lambda: (CONFIG, 1), refuse).change("app", adding(2))

    asyncio.run(run())


def test_no_more_than_1024_changes_wait() -> None:
    async def run() -> None:
        supervisor = Supervisor()
        changes = Changes(supervisor.present, supervisor.ask)
        supervisor.may_answer.clear()
        first = asyncio.create_task(changes.change("app", adding(2)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        others = [asyncio.create_task(changes.change("app", lambda present: present)) for _ in range(MAX_WAITING)]
        await asyncio.sleep(0)
        assert repr(changes) == f"<Changes waiting={MAX_WAITING}>"
        with pytest.raises(Clash) as caught:
            await changes.change("app", adding(3))
        assert str(caught.value) == "1024 changes of endpoints are waiting already"
        supervisor.may_answer.set()
        await asyncio.gather(first, *others)
        await changes.change("app", adding(3))
        assert supervisor.addresses == ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]

    asyncio.run(run())


def test_a_configuration_that_is_replaced_again_and_again_is_given_up_on_after_five_tries() -> None:
    async def run() -> None:
        supervisor = Supervisor()
        changes = Changes(supervisor.present, supervisor.ask)
        supervisor.moves_on = MOST_TRIES
        with pytest.raises(Clash) as caught:
            await changes.change("app", adding(2))
        assert str(caught.value) == "another configuration is served by now"
        assert supervisor.asked == MOST_TRIES == 5
        supervisor.moves_on = MOST_TRIES - 1
        await changes.change("app", adding(2))
        assert supervisor.asked == 2 * MOST_TRIES

    asyncio.run(run())


def test_a_refusal_on_the_same_configuration_is_final() -> None:
    asked: list[int] = []

    async def refuse(found: bytes, version: int) -> Answer:
        asked.append(version)
        return Answer(1, False, "no")

    async def run() -> None:
        with pytest.raises(Clash, match="^no$"):
            await Changes(lambda: (CONFIG, 7), refuse).change("app", adding(2))
        assert asked == [7]

    asyncio.run(run())


@pytest.mark.parametrize("error", [NotNow("it is leaving"), TimeoutError(), RuntimeError("it is broken")])
def test_what_happens_to_the_supervisor_is_told_to_all_who_wait_and_the_next_change_is_made(error: Exception) -> None:
    async def run() -> None:
        supervisor = Supervisor()

        async def ask(found: bytes, version: int) -> Answer:
            if supervisor.moves_on < 0:
                raise error
            return await supervisor.ask(found, version)

        changes = Changes(supervisor.present, ask)
        supervisor.moves_on = -1
        found = await asyncio.gather(*(changes.change("app", adding(port)) for port in (2, 3)), return_exceptions=True)
        assert found == [error, error]
        supervisor.moves_on = 0
        await changes.change("app", adding(2))
        assert supervisor.addresses == ["127.0.0.1:1", "127.0.0.1:2"]

    asyncio.run(run())


def test_who_has_gone_away_meanwhile_changes_nothing() -> None:
    async def run() -> None:
        supervisor = Supervisor()
        changes = Changes(supervisor.present, supervisor.ask)
        supervisor.may_answer.clear()
        first = asyncio.create_task(changes.change("app", adding(2)))
        await asyncio.sleep(0)
        gone, stays = (asyncio.create_task(changes.change("app", adding(port))) for port in (3, 4))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        supervisor.may_answer.set()
        await asyncio.gather(first, stays)
        assert supervisor.addresses == ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:4"]

    asyncio.run(run())


def test_sentences_name_what_is_missing_or_twice() -> None:
    async def run() -> None:
        supervisor = Supervisor()
        changes = Changes(supervisor.present, supervisor.ask)
        assert changes.cluster("app") is supervisor.config.clusters[0]
        with pytest.raises(Unknown, match="^there is no cluster 'other'$"):
            changes.cluster("other")
        with pytest.raises(Clash, match="^cluster app has the endpoint 127.0.0.1:1 already$"):
            await changes.change("app", adding(1))

    asyncio.run(run())


def test_what_the_reader_of_the_file_would_refuse_is_refused() -> None:
    text = """
listeners: [{bind: 127.0.0.1:80, routes: [{match: {prefix: /}, cluster: app}]}]
clusters:
  - {name: other, endpoints: [127.0.0.1:7]}
  - {name: app, endpoints: [127.0.0.1:1], health_check: {path: /, port: 9}}
"""

    async def run() -> None:
        supervisor = Supervisor()
        supervisor.config = parse(text, "test", {})
        changes = Changes(supervisor.present, supervisor.ask)
        unix = Endpoint(address=parse_address("unix:/run/app.sock"))
        with pytest.raises(Refused, match="^health_check of cluster app: "):
            await changes.change("app", lambda present: (*present, unix))
        await changes.change("other", lambda present: (*present, unix))

    asyncio.run(run())
