"""What the controller shows, and who follows the configuration that is served."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from shardproxy.config.schema import Config
from shardproxy.control.messages import Answer
from shardproxy.control.plan import Plan
from shardproxy.controller.failures import Failures
from shardproxy.controller.resources import Resources
from shardproxy.controller.stats import SourceStats, Suggestion
from shardproxy.controller.view import View
from shardproxy.shm.slots import Slots
from tests.unit.controller.counting import Site, site

TEXT = """
listeners: [{bind: 127.0.0.1:80, routes: [{match: {prefix: /}, cluster: app, rate_limits: [few, many]}]}]
clusters: [{name: app, endpoints: [127.0.0.1:1]}]
rate_limits: [{name: few, rate: 1/s}, {name: many, rate: 100/s}]
"""


@pytest.fixture
def app() -> Iterator[Site]:
    with site(TEXT) as made:
        made.segment.workers_wanted = 2
        yield made


class Watched:
    """What the discovery and the dry runs would say."""

    def __init__(self) -> None:
        self.reason: str | None = None

    def why_not_ready(self) -> str | None:
        return self.reason

    def stats(self) -> dict[str, SourceStats]:
        return {"app": SourceStats(source="a.yaml", is_good=True, problem="", answer_age_s=1.0)}

    def suggestions(self) -> dict[str, Suggestion]:
        return {"many": Suggestion(rate=7.0, burst=3)}


def view(app: Site, failed: list[None]) -> View:
    failures = Failures(lambda: failed.append(None))
    return View(app.segment, app.config, app.slots, 1, Resources(), failures)


def test_what_is_served_is_shown_and_everybody_follows(app: Site) -> None:
    seen: list[tuple[str, Config, Slots]] = []
    shown = view(app, [])
    shown.followers = {name: lambda *what, name=name: seen.append((name, *what)) for name in ("one", "two")}
    other, slots = replace(app.config, drain_timeout=7), Slots(app.segment.capacities)
    shown.serve(Plan(5, other, slots))
    assert (shown.config, shown.slots, shown.version) == (other, slots, 5)
    assert seen == [("one", other, slots), ("two", other, slots)]


def test_one_who_cannot_follow_does_not_keep_the_others_from_it(app: Site, caplog: pytest.LogCaptureFixture) -> None:
    def broken(config: Config, slots: Slots) -> None:
        raise RuntimeError("it is broken")

    failed: list[None] = []
    seen: list[Config] = []
    shown = view(app, failed)
    shown.followers = {"health checks": broken, "discovery": lambda config, _: seen.append(config)}
    shown.lead()
    assert seen == [app.config]
    assert len(failed) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "the taking over of configuration 1 by health checks failed; the next reload tries it again"
    ]


def test_it_is_ready_when_the_workers_and_the_sources_are(app: Site) -> None:
    shown, watched = view(app, []), Watched()
    assert shown.why_not_ready() is None
    shown.discovery = watched  # type: ignore[assignment]
    assert shown.why_not_ready() is None
    watched.reason = "the endpoints of app are not known yet"
    assert shown.why_not_ready() == watched.reason
    app.segment.workers_wanted = 3
    assert shown.why_not_ready() == "2 of 3 workers are ready"


def test_sources_and_suggestions_are_among_the_numbers(app: Site) -> None:
    shown = view(app, [])
    assert shown.stats().sources == {}
    assert shown.stats().rate_limits["many"].suggestion is None
    shown.discovery = shown.dry_runs = Watched()  # type: ignore[assignment]
    stats = shown.stats()
    assert stats.sources["app"].source == "a.yaml"
    assert stats.rate_limits["many"].suggestion == Suggestion(rate=7.0, burst=3)
    assert stats.rate_limits["few"].suggestion is None
    assert (stats.version, stats.rate_limits["few"].rate) == (1, 1.0)


def test_the_last_operation_is_told_with_its_age(app: Site) -> None:
    shown = view(app, [])
    assert shown.stats().last_operation is None
    shown.note(Answer(0, True, "reload: done"))
    shown._news_ns -= 7_250_000_000
    last = shown.stats().last_operation
    assert last is not None
    assert (last.is_done, last.text) == (True, "reload: done")
    assert 7.25 <= last.age_s < 30
    assert last.age_s == round(last.age_s, 3)
