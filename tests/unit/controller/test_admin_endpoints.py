"""Endpoints over the admin interface: what is sent, what reaches the supervisor, and what is answered."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from msgspec.structs import replace

from shardproxy.config.schema import Config, Dns
from shardproxy.control.found import decode, overlaid
from shardproxy.control.messages import Answer, Applied, Ask, Commit, Prepare, Prepared
from shardproxy.control.plan import Plan
from shardproxy.controller.admin.endpoints import MOST_BYTES
from shardproxy.shm.slots import Slots
from shardproxy.supervisor.catalog import assign
from tests.unit.controller.supervising import PATIENCE_S, Running

PATH = "/clusters/app/endpoints"


class Operator:
    """Asks the admin interface in a thread of its own; the test answers as the supervisor."""

    def __init__(self, running: Running, config: Config) -> None:
        self.running, self.config, self.version = running, config, 1
        self._threads = ThreadPoolExecutor(1)

    def send(self, method: str, path: str, body: str | bytes | dict[str, Any] = "") -> Future[tuple[int, Any]]:
        text = json.dumps(body) if isinstance(body, dict) else body
        return self._threads.submit(self._send, method, path, text)

    def told(self, method: str, path: str, body: str | bytes | dict[str, Any] = "") -> tuple[int, Any]:
        """Of what does not reach the supervisor."""
        answer = self.send(method, path, body).result(PATIENCE_S)
        assert self.running.is_silent()
        return answer

    def _send(self, method: str, path: str, body: str | bytes) -> tuple[int, Any]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.running.port, timeout=PATIENCE_S)) as connection:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def serve(self) -> dict[str, tuple[int, bool]]:
        """Do what was asked for, as a supervisor does; the endpoints of `app` from then on: weight, and draining."""
        ask = self.running.hear()
        assert isinstance(ask, Ask)
        assert (ask.what, ask.version) == ("endpoints", self.version)
        self.config, self.version = overlaid(self.config, decode(ask.found)), self.version + 1
        slots = Slots(self.running.capacities)
        assign(self.config, slots, version=self.version)
        slots.seal()
        fd = Plan(self.version, self.config, slots).write()
        self.running.supervisor.send(Prepare(self.version), [fd])
        os.close(fd)
        assert self.running.hear() == Prepared(self.version)
        self.running.supervisor.send(Commit(self.version))
        assert self.running.hear() == Applied(self.version)
        self.running.supervisor.send(Answer(ask.id, True, "done"))
        app = next(each for each in self.config.clusters if each.name == "app")
        return {str(each.address): (each.weight, each.drain) for each in app.endpoints}

    def close(self) -> None:
        self._threads.shutdown()


@pytest.fixture
def operator(running: Running, config: Config) -> Iterator[Operator]:
    made = Operator(running, config)
    yield made
    made.close()


def test_endpoints_are_shown_with_their_keys_and_numbers(operator: Operator) -> None:
    status, shown = operator.told("GET", PATH)
    assert status == 200
    assert (shown["cluster"], shown["version"]) == ("app", 1)
    first, second = shown["endpoints"]
    assert (first["address"], first["weight"], second["address"], second["weight"]) == (
        "127.0.0.1:9001", 1, "127.0.0.1:9002", 3,
    )  # fmt: skip
    assert second["stats"]["requests"] == 0
    assert second["stats"]["weight"] == 3


def test_one_is_added_and_answered_when_all_serve_it(operator: Operator) -> None:
    answer = operator.send("POST", PATH, {"address": "127.0.0.1:9003", "weight": 2})
    assert operator.serve() == {
        "127.0.0.1:9001": (1, False), "127.0.0.1:9002": (3, False), "127.0.0.1:9003": (2, False),
    }  # fmt: skip
    status, shown = answer.result(PATIENCE_S)
    assert (status, shown["done"], shown["version"]) == (200, True, 2)
    assert [each["address"] for each in shown["endpoints"]][2] == "127.0.0.1:9003"


def test_some_keys_of_one_are_changed_and_the_others_stay(operator: Operator) -> None:
    operator.send("PATCH", f"{PATH}/127.0.0.1:9001", {"weight": 5})
    assert operator.serve() == {"127.0.0.1:9001": (5, False), "127.0.0.1:9002": (3, False)}


def test_one_is_removed(operator: Operator) -> None:
    answer = operator.send("DELETE", f"{PATH}/127.0.0.1:9001")
    assert operator.serve() == {"127.0.0.1:9002": (3, False)}
    assert answer.result(PATIENCE_S)[0] == 200


@pytest.mark.parametrize(
    ("verb", "body", "drains"),
    [("drain", "", True), ("drain", " ", True), ("drain", {}, True), ("drain", {"drain": True}, True)],
)
def test_one_is_drained_and_used_again(operator: Operator, verb: str, body: Any, drains: bool) -> None:
    operator.send("POST", f"{PATH}/127.0.0.1:9002/{verb}", body)
    assert operator.serve() == {"127.0.0.1:9001": (1, False), "127.0.0.1:9002": (3, drains)}
    for path, body in (("undrain", ""), ("drain", ""), ("drain", {"drain": False})):
        operator.send("POST", f"{PATH}/127.0.0.1:9002/{path}", body)
        assert operator.serve()["127.0.0.1:9002"] == (3, path == "drain" and not body)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "/clusters/nobody/endpoints", "", 404, "there is no cluster 'nobody'"),
        ("POST", "/clusters/nobody/endpoints", {"address": "127.0.0.1:1"}, 404, "there is no cluster 'nobody'"),
        ("PATCH", "/clusters/nobody/endpoints/127.0.0.1:1", {"weight": 2}, 404, "there is no cluster 'nobody'"),
        ("DELETE", "/clusters/nobody/endpoints/127.0.0.1:1", "", 404, "there is no cluster 'nobody'"),
        ("POST", "/clusters/nobody/endpoints/127.0.0.1:1/drain", "", 404, "there is no cluster 'nobody'"),
        ("PATCH", f"{PATH}/127.0.0.1:7", {"weight": 2}, 404, "cluster app has no endpoint 127.0.0.1:7"),
        ("DELETE", f"{PATH}/127.0.0.1:7", "", 404, "cluster app has no endpoint 127.0.0.1:7"),
        ("POST", f"{PATH}/127.0.0.1:7/drain", "", 404, "cluster app has no endpoint 127.0.0.1:7"),
        ("POST", PATH, {"address": "127.0.0.1:9001"}, 409, "cluster app has the endpoint 127.0.0.1:9001 already"),
        ("POST", PATH, {"address": "nonsense"}, 400, "nonsense"),
        ("POST", PATH, b"\xff", 400, "that is not UTF-8"),
        ("POST", PATH, b" " * (MOST_BYTES + 1), 400, "that is more than 64 KiB"),
        ("PATCH", f"{PATH}/127.0.0.1:9001", {"address": "127.0.0.1:1"}, 400, "the address of an endpoint cannot be"),
        ("PATCH", f"{PATH}/127.0.0.1:9001", {"weight": -1}, 400, "weight"),
        ("POST", f"{PATH}/127.0.0.1:9001/drain", {"drain": 7}, 400, "drain"),
        ("DELETE", f"{PATH}/nonsense", "", 400, "nonsense"),
    ],
)
def test_what_is_wrong_is_answered_with_what_it_is(
    operator: Operator, method: str, path: str, body: Any, status: int, message: str
) -> None:
    found, answer = operator.told(method, path, body)
    assert found == status == answer["status"]
    assert message in answer["message"]


def test_64_kib_are_not_too_much(operator: Operator) -> None:
    body = json.dumps({"address": "127.0.0.1:9003"}).ljust(MOST_BYTES)
    answer = operator.send("POST", PATH, body)
    assert "127.0.0.1:9003" in operator.serve()
    assert answer.result(PATIENCE_S)[0] == 200


def test_a_refusal_of_the_supervisor_is_answered_with_its_reason(operator: Operator) -> None:
    answer = operator.send("DELETE", f"{PATH}/127.0.0.1:9001")
    ask = operator.running.hear()
    assert isinstance(ask, Ask)
    operator.running.supervisor.send(Answer(ask.id, False, "the shared memory is full"))
    status, told = answer.result(PATIENCE_S)
    assert (status, told["message"]) == (409, "the shared memory is full")


def test_a_supervisor_that_does_not_answer_is_not_waited_for_for_ever(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shardproxy.controller.wishes.PATIENCE_S", 0.05)
    answer = operator.send("DELETE", f"{PATH}/127.0.0.1:9001")
    status, told = answer.result(PATIENCE_S)
    assert (status, told["message"]) == (504, "the supervisor has not answered; its log says what it is doing")


def test_what_cannot_be_handed_on_now_is_answered_with_503(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shardproxy.controller.wishes.MAX_OPEN", 0)
    status, told = operator.told("DELETE", f"{PATH}/127.0.0.1:9001")
    assert (status, told["message"]) == (503, "0 operations are waiting for their answers already")


@pytest.mark.parametrize("source", ["file", "name"])
def test_what_a_source_says_can_only_be_changed_there_but_drained_here(operator: Operator, source: str) -> None:
    where = {"endpoints_file": "/etc/endpoints.yaml"} if source == "file" else {"dns": Dns(name="dns://a.test:80")}
    told = "/etc/endpoints.yaml" if source == "file" else "dns://a.test:80"
    cluster = replace(operator.config.clusters[0], **where)
    operator.config = replace(operator.config, clusters=(cluster,))
    operator.send("POST", f"{PATH}/127.0.0.1:9001/undrain", {"drain": True})
    operator.serve()
    wanted = f"the endpoints of cluster app come from {told}; change them there, or drain one"
    for method, path, body in (
        ("POST", PATH, {"address": "127.0.0.1:9003"}),
        ("PATCH", f"{PATH}/127.0.0.1:9001", {"weight": 2}),
        ("DELETE", f"{PATH}/127.0.0.1:9001", ""),
    ):
        status, answer = operator.told(method, path, body)
        assert (status, answer["message"]) == (409, wanted)
    operator.send("POST", f"{PATH}/127.0.0.1:9001/undrain")
    assert operator.serve()["127.0.0.1:9001"] == (1, False)
