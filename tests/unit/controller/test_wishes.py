"""Wishes that are open when the controller leaves: a hot restart is answered over the channel of the former one."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import pytest

from shardproxy.control.channel import Channel, PeerBusy
from shardproxy.control.messages import Answer, Ask, Drain, Drained, Stop
from shardproxy.controller.admin.ask import ask
from shardproxy.controller.orders import LEAVING
from shardproxy.controller.wishes import NotNow, Wishes
from tests.proxykit import eventually
from tests.unit.controller.supervising import PATIENCE_S, Running, is_accepting


@pytest.fixture
def wish(running: Running) -> Iterator[Future[tuple[int, bytes]]]:
    """A restart that was asked for, and whose answer is still to come."""
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(ask, running.url, "/restart", "POST", PATIENCE_S)
        assert running.hear() == Ask(1, "restart")
        yield asked


def drain(running: Running, within_s: float) -> None:
    running.supervisor.send(Drain(time.monotonic_ns() + int(within_s * 10**9), is_succeeded=True))


def test_a_controller_that_is_succeeded_stays_for_the_answer_but_accepts_nobody(
    running: Running, wish: Future[tuple[int, bytes]]
) -> None:
    drain(running, within_s=PATIENCE_S)
    eventually(lambda: not is_accepting(running), "the socket to be closed")
    assert not wish.done()
    running.supervisor.send(Answer(1, True, "generation 2 serves"))
    assert wish.result(PATIENCE_S) == (200, b'{"done":true,"message":"generation 2 serves"}\n')
    assert running.hear() == Drained(cut=0)
    assert running.exit_code.result(PATIENCE_S) == 0


def test_at_the_deadline_of_the_drain_who_still_waits_is_told(
    running: Running, wish: Future[tuple[int, bytes]]
) -> None:
    drain(running, within_s=0.1)
    status, body = wish.result(PATIENCE_S)
    assert (status, json.loads(body)["message"]) == (503, LEAVING)
    assert running.exit_code.result(PATIENCE_S) == 0


def test_what_can_only_be_done_later_is_503_and_says_when_to_ask_again(
    running: Running, wish: Future[tuple[int, bytes]]
) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE_S)) as other:
        other.request("POST", "/reload")
        assert running.hear() == Ask(2, "reload")
        running.supervisor.send(Answer(2, False, "a hot restart replaces the code now; ask again", is_again=True))
        answer = other.getresponse()
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert json.loads(answer.read())["message"] == "a hot restart replaces the code now; ask again"
    running.supervisor.send(Answer(1, False, "no"))
    assert wish.result(PATIENCE_S) == (409, b'{"done":false,"message":"no"}\n')


@pytest.mark.parametrize("hurry", [Drain(0), Stop()], ids=lambda word: type(word).__name__)
def test_a_controller_that_waits_for_an_answer_can_be_hurried(
    hurry: Drain | Stop, running: Running, wish: Future[tuple[int, bytes]]
) -> None:
    drain(running, within_s=600.0)
    running.supervisor.send(hurry)
    assert wish.result(PATIENCE_S)[0] == 503
    assert running.exit_code.result(PATIENCE_S) == 0


def test_without_a_supervisor_who_waits_is_told_at_once(running: Running, wish: Future[tuple[int, bytes]]) -> None:
    running.supervisor.close()
    status, body = wish.result(PATIENCE_S)
    assert status == 503
    assert "the supervisor is gone" in json.loads(body)["message"]


def test_while_it_stays_kept_connections_end_with_their_next_answer(
    running: Running, wish: Future[tuple[int, bytes]]
) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE_S)) as kept:
        kept.request("GET", "/live")
        assert kept.getresponse().read() == b'{"live":true}\n'
        drain(running, within_s=PATIENCE_S)
        eventually(lambda: not is_accepting(running), "the socket to be closed")
        kept.request("POST", "/reload")
        answer = kept.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (503, "close")
        assert LEAVING in answer.read().decode()
    running.supervisor.send(Answer(1, True, "done"))
    assert wish.result(PATIENCE_S)[0] == 200


def test_a_supervisor_that_does_not_read_is_not_waited_for() -> None:
    supervisor, channel = Channel.pair()

    async def ask_it() -> None:
        await Wishes(channel.send).ask("reload")

    with closing(supervisor), closing(channel):
        with pytest.raises(PeerBusy):
            while True:
                channel.send(Ask(0, "reload"))
        with pytest.raises(NotNow, match="the supervisor cannot be told: .* does not read"):
            asyncio.run(ask_it())
