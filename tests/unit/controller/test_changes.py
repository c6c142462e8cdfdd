"""`POST /reload`, `/restart`, `/drain` and `/scale`: what reaches the supervisor, and what comes back."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from shardproxy.control.messages import Answer, Ask
from shardproxy.controller.admin.ask import Outcome, ask, change
from shardproxy.controller.wishes import MAX_OPEN
from tests.unit.controller.supervising import PATIENCE_S, Running, get, post


@pytest.mark.parametrize(
    ("path", "wish"),
    [
        ("/reload", Ask(1, "reload")),
        ("/restart", Ask(1, "restart")),
        ("/drain", Ask(1, "drain")),
        ("/scale?workers=3", Ask(1, "scale", 3)),
    ],
)
def test_a_wish_goes_to_the_supervisor_and_its_answer_comes_back(path: str, wish: Ask, running: Running) -> None:
    for is_done in (True, False):
        with ThreadPoolExecutor(1) as threads:
            outcome = threads.submit(change, running.url, path, PATIENCE_S)
            heard = running.hear()
            assert isinstance(heard, Ask)
            assert (heard.what, heard.workers) == (wish.what, wish.workers)
            running.supervisor.send(Answer(heard.id, is_done, "so it went"))
            assert outcome.result(PATIENCE_S) == Outcome(is_done, "so it went")


@pytest.mark.parametrize(
    "query",
    ["", "?workers=", *(f"?workers={each}" for each in ("x", "-1", "0", "513", "99999", "%C2%B2", "2&workers=3"))],
)
def test_a_number_of_workers_that_is_none_is_refused(query: str, running: Running) -> None:
    status, body = ask(running.url, f"/scale{query}", "POST")
    assert (status, json.loads(body)["message"]) == (400, "say how many, 1 to 512: /scale?workers=4")
    assert running.is_silent()


@pytest.mark.parametrize("path", ["/reload", "/restart", "/drain", "/scale?workers=3"])
def test_what_changes_something_cannot_be_asked_for_with_get(path: str, running: Running) -> None:
    status, answer = get(running, path)
    assert (status, answer["message"]) == (405, f"{path.partition('?')[0]} can only be asked with POST")
    assert running.is_silent()


@pytest.mark.parametrize("origin", [b"http://evil.test", b"null", b"http://[", b"http://\xff"])
def test_a_page_from_elsewhere_changes_nothing(
    origin: bytes, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    status, answer = post(running, b"Origin: %s\r\n" % origin)
    assert (status, answer["message"]) == (403, "a page from elsewhere may change nothing here")
    assert running.is_silent()
    assert not caplog.records


def test_a_page_of_the_admin_interface_itself_may_ask(running: Running) -> None:
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(post, running, b"Origin: http://admin.test:9901\r\n")
        assert running.hear() == Ask(1, "drain")
        running.supervisor.send(Answer(1, True, "draining"))
        assert answer.result(PATIENCE_S) == (200, {"done": True, "message": "draining"})


def test_a_wish_without_an_answer_ends_with_504(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardproxy.controller.wishes.PATIENCE_S", 0.05)
    status, body = ask(running.url, "/reload", "POST")
    assert (status, json.loads(body)) == (
        504,
        {
            "status": 504,
            "reason": "gateway_timeout",
            "message": "the supervisor has not answered; its log says what it is doing",
        },
    )
    running.supervisor.send(Answer(1, True, "too late"))
    assert get(running, "/live")[0] == 200


def test_of_more_wishes_than_sixteen_the_last_is_refused(running: Running) -> None:
    with ThreadPoolExecutor(MAX_OPEN) as threads:
        outcomes = [threads.submit(change, running.url, "/reload", PATIENCE_S) for _ in range(MAX_OPEN)]
        asks = [running.hear() for _ in outcomes]
        status, body = ask(running.url, "/reload", "POST")
        assert (status, json.loads(body)["reason"]) == (503, "service_unavailable")
        for each in asks:
            assert isinstance(each, Ask)
            running.supervisor.send(Answer(each.id, True, "done"))
        assert {each.result(PATIENCE_S) for each in outcomes} == {Outcome(True, "done")}
