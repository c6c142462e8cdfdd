"""Wishes by themselves: numbered, answered, refused, and never left without an end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from shardproxy.control.channel import PeerGone
from shardproxy.control.messages import Answer, Ask, Message
from shardproxy.controller import wishes
from shardproxy.controller.wishes import MAX_OPEN, NotNow, Wishes


def run(story: Callable[[Wishes, list[Message]], Awaitable[None]]) -> None:
    async def play() -> None:
        sent: list[Message] = []
        async with asyncio.timeout(10):
            await story(Wishes(sent.append), sent)

    asyncio.run(play())


def test_each_wish_has_its_number_and_gets_its_own_answer() -> None:
    async def story(made: Wishes, sent: list[Message]) -> None:
        first = asyncio.create_task(made.ask("scale", 3))
        second = asyncio.create_task(made.ask("endpoints", found=b"x", version=7))
        await asyncio.sleep(0)
        assert sent == [Ask(1, "scale", 3, b"", 0), Ask(2, "endpoints", None, b"x", 7)]
        assert repr(made) == "<Wishes open=2>"
        made.hear(Answer(2, True, "two"))
        made.hear(Answer(9, True, "to nobody"))
        made.hear(Answer(1, False, "one"))
        made.hear(Answer(1, True, "again"))
        assert [await first, await second] == [Answer(1, False, "one"), Answer(2, True, "two")]
        assert repr(made) == "<Wishes open=0>"
        third = asyncio.create_task(made.ask("reload"))
        await asyncio.sleep(0)
        assert sent[-1] == Ask(3, "reload", None, b"", 0)
        made.hear(Answer(3, True, "three"))
        await third

    run(story)


def test_of_sixteen_open_wishes_one_must_end_before_another_is_taken() -> None:
    async def story(made: Wishes, sent: list[Message]) -> None:
        waiting = [asyncio.create_task(made.ask("reload")) for _ in range(MAX_OPEN)]
        await asyncio.sleep(0)
        with pytest.raises(NotNow) as caught:
            await made.ask("reload")
        assert str(caught.value) == "16 operations are waiting for their answers already"
        assert len(sent) == MAX_OPEN
        made.hear(Answer(1, True, "one"))
        await waiting[0]
        last = asyncio.create_task(made.ask("reload"))
        await asyncio.sleep(0)
        for number in range(2, MAX_OPEN + 2):
            made.hear(Answer(number, True, "done"))
        await asyncio.gather(last, *waiting)

    run(story)


def test_who_gets_no_answer_in_two_minutes_is_told_so_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wishes.PATIENCE_S == 120
    monkeypatch.setattr(wishes, "PATIENCE_S", 0.01)

    async def story(made: Wishes, _: list[Message]) -> None:
        with pytest.raises(TimeoutError):
            await made.ask("reload")
        assert repr(made) == "<Wishes open=0>"
        made.hear(Answer(1, True, "too late"))

    run(story)


def test_a_supervisor_that_is_gone_cannot_be_told() -> None:
    def gone(_: Message) -> None:
        raise PeerGone("it is gone")

    async def story() -> None:
        made = Wishes(gone)
        with pytest.raises(NotNow) as caught:
            await made.ask("reload")
        assert str(caught.value) == "the supervisor cannot be told: it is gone"
        assert repr(made) == "<Wishes open=0>"

    asyncio.run(story())


def test_once_closed_no_wish_is_taken_and_who_waits_is_told_at_the_deadline() -> None:
    async def story(made: Wishes, sent: list[Message]) -> None:
        waiting = asyncio.create_task(made.ask("restart"))
        await asyncio.sleep(0)
        made.close(time.monotonic_ns() + 3600 * 10**9, "it is leaving")
        assert repr(made) == "<Wishes open=1 closed>"
        with pytest.raises(NotNow, match="^it is leaving$"):
            await made.ask("reload")
        assert len(sent) == 1
        settled = asyncio.create_task(made.settled())
        await asyncio.sleep(0.01)
        assert not settled.done()
        made.close(time.monotonic_ns(), "the supervisor is gone")
        with pytest.raises(NotNow, match="^the supervisor is gone$"):
            await waiting
        await settled

    run(story)


def test_an_answer_before_the_deadline_is_still_heard() -> None:
    async def story(made: Wishes, _: list[Message]) -> None:
        waiting = asyncio.create_task(made.ask("restart"))
        await asyncio.sleep(0)
        made.close(time.monotonic_ns() + 20_000_000, "it is leaving")
        made.hear(Answer(1, True, "done"))
        assert await waiting == Answer(1, True, "done")
        await made.settled()
        await asyncio.sleep(0.03)  # the deadline finds nobody

    run(story)


def test_a_deadline_is_in_seconds_from_now_and_a_past_one_is_now() -> None:
    async def story(made: Wishes, _: list[Message]) -> None:
        loop, begun = asyncio.get_running_loop(), time.monotonic()
        waiting = asyncio.create_task(made.ask("restart"))
        await asyncio.sleep(0)
        made.close(time.monotonic_ns() + 50_000_000, "it is leaving")
        with pytest.raises(NotNow):
            await waiting
        assert time.monotonic() - begun >= 0.045
        made.close(0, "at once")
        assert made._end is not None
        assert made._end.when() <= loop.time()

    run(story)
