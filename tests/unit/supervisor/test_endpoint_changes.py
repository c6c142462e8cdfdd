"""Endpoints that the controller has found: a reload without a file."""

from __future__ import annotations

import signal

import pytest

from shardproxy.config.load import load
from shardproxy.control.found import encode
from shardproxy.control.messages import Answer, Ask, Ready
from tests.unit.supervisor.stage import Stage, finish


@pytest.fixture
def found(stage: Stage) -> Stage:
    """The controller has found other endpoints for `app`."""
    change(stage, "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")
    return stage


def change(stage: Stage, *addresses: str, version: int = 1) -> None:
    cluster = stage.home.config.clusters[0]
    other = stage.file.with_name("other.yaml")
    wanted = f"[{', '.join(f'{{address: {each}}}' if '{' not in each else each for each in addresses)}]"
    other.write_text(stage.file.read_text().replace("endpoints: [127.0.0.1:1]", f"endpoints: {wanted}"))
    endpoints = load(other).clusters[0].endpoints
    stage.current("controller").say(Ask(3, "endpoints", found=encode({cluster.name: endpoints}), version=version))
    stage.step()


def endpoints(stage: Stage) -> list[str]:
    return [str(each.address) for each in stage.home.config.clusters[0].endpoints]


def test_endpoints_are_changed_in_the_same_two_phases(found: Stage) -> None:
    assert endpoints(found) == ["127.0.0.1:1"]
    finish(found)
    assert endpoints(found) == ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]
    assert found.home.edited == {"app"}
    (answer,) = found.current("controller").answers()
    assert answer == Answer(3, True, "cluster app: 3 endpoints, 2 added, 0 removed, 0 changed")


def test_they_are_no_news_for_operators_and_begin_quietly(found: Stage) -> None:
    finish(found)
    assert [answer.id for answer in found.current("controller").told(Answer)] == [3]
    assert "DEBUG endpoints begins" in found.log


def test_what_has_changed_is_counted(found: Stage) -> None:
    finish(found)
    change(found, "{address: 127.0.0.1:2, weight: 3}", "127.0.0.1:4", version=2)
    finish(found, 3)
    text = "cluster app: 2 endpoints, 1 added, 2 removed, 1 changed"
    assert found.current("controller").answers()[1] == Answer(3, True, text)


def test_endpoints_made_from_another_configuration_are_refused(stage: Stage) -> None:
    change(stage, "127.0.0.1:2", version=7)
    text = "the running configuration stays: another configuration is served by now"
    assert stage.current("controller").answers() == [Answer(3, False, text)]


def test_endpoints_that_cannot_be_read_are_refused(stage: Stage) -> None:
    stage.current("controller").say(Ask(3, "endpoints", found=b"\xc1", version=1))
    stage.step()
    (answer,) = stage.current("controller").answers()
    assert answer.text.startswith("the running configuration stays: the endpoints cannot be read: ")


def test_a_change_of_endpoints_does_not_scale(found: Stage) -> None:
    finish(found)
    assert not any("scale" in line for line in found.log)


def test_a_reload_takes_what_the_file_says(found: Stage) -> None:
    finish(found)
    found.signal(signal.SIGHUP)
    finish(found, 3)
    assert endpoints(found) == ["127.0.0.1:1"]
    assert found.home.edited == frozenset()


def test_a_newly_born_child_gets_what_holds(found: Stage) -> None:
    finish(found)
    found.end(found.current("worker 0"), signal.SIGKILL)
    found.current("worker 0").say(Ready())
    found.step()
    assert found.home.version == 2
