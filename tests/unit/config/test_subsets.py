"""Which endpoints of a cluster a subset has."""

from __future__ import annotations

import pytest

from shardproxy.config.load import parse
from shardproxy.config.subsets import part_of
from tests.unit.config.test_wrong_configurations import ENDPOINTS, GOOD, Wrong, errors_of

TEXT = """\
listeners:
  - bind: 127.0.0.1:8080
    routes: [{match: {prefix: /}, cluster: app}]
clusters:
  - name: app
    endpoints:
      - {address: 127.0.0.1:1, labels: [version=v1]}
      - {address: 127.0.0.1:2, labels: [version=v2, tier=gold]}
      - {address: 127.0.0.1:3, labels: [tier=gold, version=v1]}
      - 127.0.0.1:4
"""


@pytest.mark.parametrize(
    ("labels", "ports"),
    [
        (("version=v1",), [1, 3]),
        (("version=v1", "tier=gold"), [3]),
        (("tier=gold", "version=v1"), [3]),
        (("version=v3",), []),
        (("version=v",), []),
        ((), [1, 2, 3, 4]),
    ],
)
def test_a_subset_has_the_endpoints_that_carry_all_its_labels(labels: tuple[str, ...], ports: list[int]) -> None:
    (cluster,) = parse(TEXT, "x.yaml", {}).clusters
    assert [one.address.port for one in part_of(cluster, labels).endpoints] == ports


def test_a_subset_of_all_is_the_cluster_itself() -> None:
    (cluster,) = parse(TEXT, "x.yaml", {}).clusters
    assert part_of(cluster, ()) == cluster


@pytest.mark.parametrize("cluster", ["dns: dns://app:80", "endpoints_file: /etc/app.yaml"])
def test_a_subset_of_endpoints_that_are_found_at_run_time_may_have_none_yet(cluster: str) -> None:
    text = TEXT[: TEXT.index("    endpoints:")].replace("cluster: app", "cluster: app, subset: [version=v2]")
    assert parse(text + "    " + cluster, "x.yaml", {}).listeners[0].routes[0].subset == ("version=v2",)


WRONG = [
    Wrong("a subset of nobody", "cluster: app", "cluster: app, subset: [version=v2, canary=yes]",
          "4: listeners[0].routes[0].subset: no endpoint of 'app' carries version=v2 and canary=yes"),
    Wrong("a subset that says two things", "cluster: app", "cluster: app, subset: [v=1, v=2], subset_fallback: any",
          "4: listeners[0].routes[0].subset[1]: the label 'v' is in this list twice"),
    Wrong("a fallback of nothing", "cluster: app", "cluster: app, subset_fallback: any",
          "4: listeners[0].routes[0].subset_fallback: is used only with subset"),
    Wrong("a subset of a cluster with a queue", "cluster: app}\nclusters:\n  - name: app\n",
          "cluster: app, subset: [v=2], subset_fallback: any}\nclusters:\n"
          "  - name: app\n    max_requests: 1\n    queue: {}\n",
          "4: listeners[0].routes[0].subset: 'app' has a queue, which is one line for all its endpoints; "
          "make it two clusters"),
    Wrong("a label without a value", ENDPOINTS, "[{address: '127.0.0.1:9001', labels: [v2]}]",
          "7: clusters[0].endpoints[0].labels[0]: 'v2' is no label; "
          "write version=v2, with letters, digits, '-', '.', '_' and '/'"),
    Wrong("two labels of one name", ENDPOINTS, "[{address: '127.0.0.1:9001', labels: [v=1, v=2]}]",
          "7: clusters[0].endpoints[0].labels[1]: the label 'v' is in this list twice"),
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=[wrong.case for wrong in WRONG])
def test_a_wrong_subset_gives_its_line_and_a_sentence(wrong: Wrong) -> None:
    assert wrong.old in GOOD
    assert errors_of(GOOD.replace(wrong.old, wrong.new)) == wrong.errors
