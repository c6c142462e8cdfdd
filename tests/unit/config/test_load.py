"""Reading: what a right file becomes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from shardproxy.config.load import load, parse
from shardproxy.config.schema import Config, Endpoint, Match, burst_of, worker_count
from shardproxy.config.shapes import Group, Many, group_of
from shardproxy.config.units import Address

SECOND = 10**9
CONFIGS = Path(__file__).parents[3] / "configs"

LARGE = """\
workers: 3
admin: {bind: unix:/run/admin.sock}
drain_timeout: 1.5m
log: {format: json, level: warning}
listeners:
  - name: web
    bind: "[::1]:8080"
    max_connections: 20000
    max_body: 100MiB
    via: edge-1
    timeouts: {request_head: 250ms}
    routes:
      - match: {hosts: [API.example.com, "*.example.org"], prefix: /v1/}
        cluster: api
        timeout: 2s
        rate_limits: [whole-api]
      - {match: {path: /}, cluster: api}
clusters:
  - name: api
    balance: random
    endpoints:
      - 10.0.0.1:9000
      - {address: 10.0.0.2:9000, weight: 2, max_requests: 4}
    max_requests:
    keepalive: {max_idle: 0}
rate_limits:
  - {name: whole-api, rate: 90/m, burst: 7}
"""


def read(text: str, **environ: str) -> Config:
    return parse(text, "x.yaml", environ)


def small(extra: str = "") -> str:
    return (CONFIGS / "minimal.yaml").read_text() + extra


@pytest.fixture(scope="module")
def large() -> Config:
    return read(LARGE)


def test_a_listener_becomes_what_it_says(large: Config) -> None:
    listener = large.listeners[0]
    assert (listener.name, listener.bind, listener.via) == ("web", Address("::1", 8080), "edge-1")
    assert (listener.max_connections, listener.max_body, listener.max_fields) == (20000, 100 << 20, 100)
    assert (listener.timeouts.request_head, listener.timeouts.idle) == (SECOND // 4, 60 * SECOND)


def test_a_route_becomes_what_it_says(large: Config) -> None:
    first, second = large.listeners[0].routes
    assert first.match == Match(hosts=("api.example.com", "*.example.org"), prefix="/v1/")
    assert (first.cluster, first.timeout, first.rate_limits) == ("api", 2 * SECOND, ("whole-api",))
    assert (second.match, second.timeout, second.rate_limits) == (Match(path="/"), 15 * SECOND, ())


def test_a_cluster_becomes_what_it_says(large: Config) -> None:
    cluster = large.clusters[0]
    assert cluster.endpoints == (
        Endpoint(address=Address("10.0.0.1", 9000)),
        Endpoint(address=Address("10.0.0.2", 9000), weight=2, max_requests=4),
    )
    assert (cluster.balance, cluster.connect_timeout, cluster.max_requests) == ("random", 5 * SECOND, None)
    assert (cluster.keepalive.max_idle, cluster.keepalive.idle_timeout) == (0, 60 * SECOND)


def test_the_rest_becomes_what_it_says(large: Config) -> None:
    assert (large.workers, large.drain_timeout, large.watchdog) == (3, 90 * SECOND, 10 * SECOND)
    assert (large.admin.bind, large.log.format, large.log.level) == (Address(path="/run/admin.sock"), "json", "warning")
    assert (large.rate_limits[0].rate, large.rate_limits[0].burst) == (1.5, 7)


def test_what_is_left_out_has_its_default() -> None:
    config = read(small())
    assert (config.workers, config.admin.bind, config.drain_timeout) == (
        "auto",
        Address("127.0.0.1", 9901),
        30 * SECOND,
    )
    assert (config.listeners[0].max_head, config.clusters[0].balance) == (32 << 10, "least_connection")


def test_a_listener_without_a_name_is_called_by_its_address() -> None:
    assert read(small()).listeners[0].name == "127.0.0.1:8080"


@pytest.mark.parametrize(("rate", "burst"), [("20/s", 20), ("90/m", 1), ("5/h", 1), ("2.9/s", 2)])
def test_a_burst_that_is_left_out_is_one_seconds_worth_and_at_least_one(rate: str, burst: int) -> None:
    config = read(small(f"rate_limits: [{{name: a, rate: {rate}}}]\n"))
    assert burst_of(config.rate_limits[0]) == burst


def test_workers_are_as_many_as_written_or_as_there_are_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 5})
    assert worker_count(read(small("workers: 7\n"))) == 7
    assert worker_count(read(small("workers: auto\n"))) == 3


@pytest.mark.parametrize(
    ("text", "workers"),
    [
        ("${N}", 4),
        ('"${N}"', 4),
        ("1${N}", 14),
        ("${M:-2}", 2),
        ("${EMPTY:-2}", 2),
        ("${N:-2}", 4),
        ("${M:-auto}", "auto"),
    ],
)
def test_values_come_from_the_environment(text: str, workers: int | str) -> None:
    assert read(small(f"workers: {text}\n"), N="4", EMPTY="").workers == workers


def test_what_a_variable_holds_is_not_expanded_again() -> None:
    config = read(small('admin: {bind: "unix:/a${X}$${Y}"}\n'), X="${Z}")
    assert config.admin.bind == Address(path="/a${Z}${Y}")


@pytest.mark.parametrize("name", ["no", "true", "12", "1e3", "null1"])
def test_words_that_yaml_has_other_plans_for_are_words_where_the_schema_wants_words(name: str) -> None:
    text = small().replace("name: app", f"name: {name}").replace("cluster: app", f"cluster: {name}")
    assert read(text).clusters[0].name == name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0.0.0.0:80", "[::]:80"),
        ("127.0.0.1:80", "127.0.0.2:80"),
        ("0.0.0.0:80", "127.0.0.1:81"),
        ("unix:/a", "unix:/b"),
    ],
)
def test_addresses_that_can_both_be_bound_do_not_clash(one: str, other: str) -> None:
    listener = f"{{bind: '{one}', routes: [{{match: {{prefix: /}}, cluster: app}}]}}"
    text = small().replace("127.0.0.1:8080", f"'{other}'").replace("listeners:\n", f"listeners:\n  - {listener}\n")
    assert [str(listener.bind) for listener in read(text).listeners] == [one, other]


def test_routes_that_can_all_win_are_left_alone() -> None:
    matches = ["path: /v1", "hosts: [a.x], prefix: /", "prefix: /v1/", "hosts: ['*.x'], prefix: /", "prefix: /"]
    routes = "".join(f"      - {{match: {{{match}}}, cluster: app}}\n" for match in matches)
    text = small().replace("      - {match: {prefix: /}, cluster: app}\n", routes)
    assert len(read(text).listeners[0].routes) == 5


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "windows.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + small().replace("\n", "\r\n").encode())
    assert load(file) == load(CONFIGS / "minimal.yaml")


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda file: file.name)
def test_the_configurations_we_ship_are_right(file: Path) -> None:
    assert load(file, {}).clusters


def groups(group: Group) -> Iterator[Group]:
    yield group
    for key in group.keys.values():
        inner = key.shape.item if isinstance(key.shape, Many) else key.shape
        if isinstance(inner, Group):
            yield from groups(inner)


def mappings(value: object) -> Iterator[set[str]]:
    """The keys of every mapping in a tree."""
    if isinstance(value, dict):
        yield set(value)
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from mappings(inner)


@pytest.mark.parametrize("group", list(groups(group_of(Config))), ids=lambda group: group.struct.__name__)
def test_the_full_configuration_has_every_key_of_the_schema(group: Group) -> None:
    written = mappings(yaml.safe_load((CONFIGS / "full.yaml").read_text()))
    ours = [keys for keys in written if set(group.required) <= keys <= set(group.keys)]
    assert set(group.keys) - set().union(*ours) == set()


def test_the_example_has_three_endpoints_a_route_with_a_host_and_one_with_a_limit() -> None:
    config = load(CONFIGS / "example.yaml", {})
    assert [one.address.port for one in config.clusters[0].endpoints] == [9001, 9002, 9003]
    assert [(route.match.hosts, route.rate_limits) for route in config.listeners[0].routes] == [
        (("api.example.com",), ()),
        ((), ("whole-api",)),
        ((), ()),
    ]


def test_a_cluster_has_the_endpoints_of_its_file_if_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "there.yaml").write_text("- 127.0.0.1:7\n- 127.0.0.1:8\n")
    file = tmp_path / "a.yaml"
    file.write_text(f"""
listeners: [{{bind: 127.0.0.1:80, routes: [{{match: {{prefix: /}}, cluster: fixed}}]}}]
clusters:
  - {{name: fixed, endpoints: [127.0.0.1:1]}}
  - {{name: there, endpoints_file: {tmp_path}/there.yaml, balance: random}}
  - {{name: later, endpoints_file: {tmp_path}/later.yaml}}
""")
    fixed, there, later = load(file).clusters
    assert [each.address.port for each in fixed.endpoints] == [1]
    assert (there.name, there.balance, [each.address.port for each in there.endpoints]) == ("there", "random", [7, 8])
    assert later.endpoints == ()
