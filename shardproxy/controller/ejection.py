"""Who did so badly in an interval that it should get no requests for a while: Envoy's two statistics, and nothing else.

Sources: outlier.rst and outlier_detection.proto of Envoy, whose defaults ours are but where a remark says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import NamedTuple

from shardproxy.config.schema import OutlierDetection
from shardproxy.controller.reasons import Reason, Why


class Sample(NamedTuple):
    """The requests to one endpoint in one interval, over all workers, and how many of them went well."""

    requests: int
    good: int

    @property
    def success_percent(self) -> float:
        return 100 * self.good / self.requests


def outliers(samples: Mapping[int, Sample], rules: OutlierDetection) -> dict[int, Reason]:
    """Those that should be ejected, worst first.  `samples` are those of endpoints that are in use."""
    found = {**_failing(samples, rules), **_straggling(samples, rules)}
    return dict(sorted(found.items(), key=lambda one: samples[one[0]].success_percent))


def success_threshold(samples: Mapping[int, Sample], factor: int) -> float:
    """mean - stdev * factor / 1000 of the success rates, in percent."""
    rates = [sample.success_percent for sample in samples.values()]
    mean = sum(rates) / len(rates)
    return mean - sqrt(sum((rate - mean) ** 2 for rate in rates) / len(rates)) * factor / 1000


def ejection_ns(rules: OutlierDetection, times: int) -> int:
    """How long an endpoint stays out that is ejected for the `times`-th time in a row."""
    return min(rules.base_ejection_time * times, max(rules.max_ejection_time, rules.base_ejection_time))


def may_eject(ejected: int, endpoints: int, most_percent: int) -> bool:
    """Whether one more may go.  One of several always may: 10 % of four endpoints would be nobody, ever."""
    return endpoints > 1 and (ejected == 0 or 100 * (ejected + 1) <= most_percent * endpoints)


def _straggling(samples: Mapping[int, Sample], rules: OutlierDetection) -> dict[int, Reason]:
    """Success rate: far worse than the others."""
    seen = {slot: one for slot, one in samples.items() if one.requests >= rules.success_rate_requests}
    if not rules.success_rate or len(seen) < rules.success_rate_endpoints:
        return {}
    threshold = success_threshold(seen, rules.success_rate_stdev_factor)
    return {
        slot: Reason(Why.SUCCESS_RATE, int(one.success_percent))
        for slot, one in seen.items()
        if one.success_percent < threshold
    }


def _failing(samples: Mapping[int, Sample], rules: OutlierDetection) -> dict[int, Reason]:
    """Failure percentage: bad by itself, whatever the others do."""
    seen = {slot: one for slot, one in samples.items() if one.requests >= rules.failure_percentage_requests}
    if rules.failure_percentage is None or len(seen) < rules.failure_percentage_endpoints:
        return {}
    return {
        slot: Reason(Why.FAILURE_PERCENTAGE, round(100 - one.success_percent))
        for slot, one in seen.items()
        if 100 - one.success_percent >= rules.failure_percentage
    }
