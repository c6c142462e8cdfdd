"""Wrong rate limits, with the line they name and the sentence they give."""

from __future__ import annotations

import pytest

from tests.unit.config.test_wrong_configurations import GOOD, Wrong, errors_of

ADAPTIVE = "adaptive: {cluster: app, min: 1/s, max: 10/s}"
WRONG = [
    Wrong("an adaptive rate that begins below its least", "rate: 5/s", f"rate: 30/m, {ADAPTIVE}",
          "9: rate_limits[0].rate: must be from adaptive.min (1/s) to adaptive.max (10/s)"),
    Wrong("an adaptive rate that begins above its most", "rate: 5/s", f"rate: 11/s, {ADAPTIVE}",
          "9: rate_limits[0].rate: must be from adaptive.min (1/s) to adaptive.max (10/s)"),
    Wrong("an adaptive rate of nobody's", "rate: 5/s", f"rate: 5/s, {ADAPTIVE.replace('app', 'apt')}",
          "9: rate_limits[0].adaptive.cluster: there is no cluster 'apt'; did you mean 'app'?"),
    Wrong("an adaptive rate by key", "rate: 5/s", f"rate: 5/s, key: client_ip, {ADAPTIVE}",
          "9: rate_limits[0].adaptive: is not for limits with a key or a store"),
    Wrong("connections of an endpoint beside a queue", "127.0.0.1:9002]",
          "{address: 127.0.0.1:9002, max_requests: 1, max_connections: 2}]\n    queue: {}",
          "7: clusters[0].endpoints[1].max_connections: is not for clusters with a queue; "
          "write max_requests, or max_connections of the cluster"),
    Wrong("overload that ends before it begins", "rate_limits:",
          "overload: {refuse_low: {at: 80, until: 80}}\nrate_limits:",
          "8: overload.refuse_low.until: must be less than at (80)"),
    Wrong("a key of two segments", "rate: 5/s", "rate: 5/s, key: {path: '/a/{b}/{c}'}",
          "9: rate_limits[0].key.path: needs one name in braces, at its end: /users/{id}"),
    Wrong("a key of no segment", "rate: 5/s", "rate: 5/s, key: {path: /a/b}",
          "9: rate_limits[0].key.path: needs one name in braces, at its end: /users/{id}"),
    Wrong("a key of too many parts", "rate: 5/s",
          "rate: 5/s, key: {address: client_ip, header: A, cookie: a, query: a, path: '/{a}'}",
          "9: rate_limits[0].key: has 5 parts; at most 4 make a key"),
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=[wrong.case for wrong in WRONG])
def test_a_wrong_limit_gives_its_line_and_a_sentence(wrong: Wrong) -> None:
    assert wrong.old in GOOD
    assert errors_of(GOOD.replace(wrong.old, wrong.new)) == wrong.errors
