"""Wrong conditions of retries and hedges, with the line they name and the sentence they give."""

from __future__ import annotations

import pytest

from tests.unit.config.test_wrong_configurations import GOOD, Wrong, errors_of

WRONG = [
    Wrong("retriable headers that are not used", "cluster: app", "cluster: app, retry: {on: [reset], headers: [x]}",
          "4: listeners[0].routes[0].retry.headers: are used only if on has retriable-headers"),
    Wrong("retriable headers that are not named", "cluster: app", "cluster: app, retry: {on: [retriable-headers]}",
          "4: listeners[0].routes[0].retry: retriable-headers needs headers, such as headers: [X-Retry-Me]"),
    Wrong("a retriable header twice", "cluster: app",
          "cluster: app, retry: {on: [retriable-headers], headers: [X-Retry, x-retry]}",
          "4: listeners[0].routes[0].retry.headers[1]: the field 'x-retry' is in this list twice"),
    Wrong("a retriable header of two words", "cluster: app",
          "cluster: app, retry: {on: [retriable-headers], headers: [X Retry]}",
          "4: listeners[0].routes[0].retry.headers[0]: 'X Retry' cannot stand in a header field; "
          "write one word of letters, digits, '-', '.' and '_'"),
    Wrong("a hedge after the end", "cluster: app", "cluster: app, timeout: 1s, hedge: 1s",
          "4: listeners[0].routes[0].hedge.after: must be less than the route's timeout"),
    Wrong("a subset of several clusters", "cluster: app", "clusters: [{cluster: app}], subset: [v=2]",
          "4: listeners[0].routes[0].subset: is used only with cluster"),
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=[wrong.case for wrong in WRONG])
def test_a_wrong_retry_gives_its_line_and_a_sentence(wrong: Wrong) -> None:
    assert wrong.old in GOOD
    assert errors_of(GOOD.replace(wrong.old, wrong.new)) == wrong.errors
