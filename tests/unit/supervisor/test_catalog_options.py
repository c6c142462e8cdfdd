"""Which names an option of the configuration brings with it, and that every name tells whose it is."""

from __future__ import annotations

import pytest

from shardproxy.config.limits import key_text
from shardproxy.config.load import parse
from shardproxy.config.schema import Config
from shardproxy.shm import names
from shardproxy.shm.slots import SlotKind
from shardproxy.supervisor import catalog
from shardproxy.supervisor.catalog import Entry

PLAIN = """
listeners:
  - {name: web, bind: 127.0.0.1:80, routes: [{match: {prefix: /}, cluster: app%(route)s}]}
clusters:
  - {name: app, endpoints: [10.0.0.1:1, 10.0.0.2:1]%(cluster)s}
rate_limits:
  - {name: whole, rate: 10/s, burst: 8%(limit)s}
%(top)s
"""
ENDPOINTS = (("app", "10.0.0.1:1"), ("app", "10.0.0.2:1"))
WORD, GAUGE, COUNTER, QUEUE = SlotKind.WORD, SlotKind.GAUGE, SlotKind.COUNTER, SlotKind.QUEUE


def config(**options: str) -> Config:
    text = PLAIN % {"route": "", "cluster": "", "limit": "", "top": "", **options}
    return parse(text, "proxy.yaml", {})


def brought_by(**options: str) -> set[Entry]:
    """What an option adds; nothing goes with it."""
    before, after = set(catalog.entries(config())), set(catalog.entries(config(**options)))
    assert before <= after
    return after - before


@pytest.mark.parametrize(
    ("option", "entries"),
    [
        (
            {"cluster": ", balance: round_robin"},
            {(WORD, names.cluster_turn("app"))},
        ),
        (
            {"cluster": ", balance: peak_ewma"},
            {(WORD, names.endpoint_latency(*each)) for each in ENDPOINTS},
        ),
        (
            {"cluster": ", slow_start: {window: 10s}"},
            {(WORD, names.endpoint_since(*each)) for each in ENDPOINTS},
        ),
        (
            {"cluster": ", outlier_detection: {}"},
            {(WORD, names.endpoint_errors_run(*each)) for each in ENDPOINTS}
            | {(WORD, names.endpoint_gateway_run(*each)) for each in ENDPOINTS},
        ),
        (
            {"cluster": ", adaptive: {}"},
            {(WORD, names.cluster_limit("app")), (COUNTER, names.cluster_would_refuse("app"))},
        ),
        (
            {"cluster": ", max_requests: 5, queue: {max: 10}"},
            {
                (QUEUE, names.cluster_queue("app")),
                (QUEUE, names.cluster_queue_end("app")),
                (QUEUE, names.cluster_queue_asking("app")),
                (GAUGE, names.cluster_waiting("app")),
                (COUNTER, names.cluster_queued("app")),
                (COUNTER, names.cluster_queue_timeouts("app")),
                (COUNTER, names.cluster_queue_refused("app")),
                (SlotKind.HISTOGRAM, names.cluster_wait_time("app")),
            },
        ),
        (
            {"limit": ", store: 'redis://127.0.0.1:6379'"},
            {
                (WORD, names.rate_limit_lease("whole")),
                (WORD, names.rate_limit_leased_until("whole")),
                (WORD, names.rate_limit_machines("whole")),
                (COUNTER, names.rate_limit_asked("whole")),
            },
        ),
        (
            {"limit": ", adaptive: {cluster: app, min: 1/s, max: 20/s}"},
            {(WORD, names.rate_limit_interval("whole"))},
        ),
        (
            {"top": "bandwidth_limits: [{name: half, down: 1MiB/s, per_connection: true}]"},
            {
                (COUNTER, names.bandwidth_passed("half", "down")),
                (COUNTER, names.bandwidth_held("half", "down")),
                (COUNTER, names.bandwidth_waited("half", "down")),
                (COUNTER, names.bandwidth_evicted("half", "down")),
                (GAUGE, names.bandwidth_waiting("half", "down")),
            },
        ),
    ],
    ids=["in turn", "peak_ewma", "slow start", "outliers", "adaptive", "queue", "store", "adaptive rate", "bandwidth"],
)  # fmt: skip
def test_an_option_brings_its_own_names_and_no_others(option: dict[str, str], entries: set[Entry]) -> None:
    assert brought_by(**option) == entries


def test_without_options_every_name_is_that_of_its_owner_and_there_is_none_twice() -> None:
    found = list(catalog.entries(config()))
    assert len(found) == len(set(found))
    owners = {name.partition("{")[2] for _, name in found if "{" in name}
    assert not any("None" in owner for owner in owners)
    assert sum('"whole"' in owner for owner in owners) >= 1
    for label in ('"app"', '"10.0.0.2:1"', '"web"'):
        assert any(label in owner for owner in owners)


def test_a_limit_by_key_has_a_table_instead_of_a_bucket() -> None:
    plain, keyed = set(catalog.entries(config())), set(catalog.entries(config(limit=", key: client_ip")))
    assert plain - keyed == {(SlotKind.BUCKET, names.rate_limit("whole"))}
    added = sorted(keyed - plain)
    assert {kind for kind, _ in added} == {SlotKind.TABLE, COUNTER}
    assert all("whole" in name for _, name in added)
    assert (COUNTER, names.rate_limit_evicted("whole")) in added


def test_a_key_with_a_rate_of_its_own_has_a_bucket_of_its_own() -> None:
    plain = set(catalog.entries(config(limit=", key: client_ip")))
    with_one = config(limit=", key: client_ip, overrides: [{key: 10.0.0.9, rate: 1/s}]")
    name = names.rate_limit_override("whole", key_text(with_one.rate_limits[0].key), "10.0.0.9")
    assert set(catalog.entries(with_one)) - plain == {(SlotKind.BUCKET, name)}
