"""A route of the configuration, compiled into what a request meets."""

from __future__ import annotations

from dataclasses import dataclass

from shardproxy.config import schema
from shardproxy.config.routes import clusters_of
from shardproxy.limits.rates import RateLimit, RateLimits
from shardproxy.proxy.admission import LimitGate
from shardproxy.proxy.hedging import HedgePolicy
from shardproxy.proxy.priority import CLASSES
from shardproxy.proxy.retries import RetryBudget, RetryPolicy
from shardproxy.proxy.runtime import RouteRuntime
from shardproxy.routing.compile import conditions
from shardproxy.shm import names
from shardproxy.shm.held import Held
from shardproxy.shm.slots import Slots
from shardproxy.shm.words import Words
from shardproxy.worker.build_actions import action_of
from shardproxy.worker.build_balancing import hash_policy
from shardproxy.worker.build_bandwidth import BothWays, plan_of
from shardproxy.worker.build_subsets import SubsetBuilder
from shardproxy.worker.held import HeldRoute
from shardproxy.worker.snapshot import Worksite

MOST_BACKOFFS = 10  # of base: where the back-off stops growing if the route does not say (Envoy)


@dataclass(frozen=True)
class RouteBuilder:
    """`subsets`, `limits` and `bandwidth` give what routes name, compiled; `configured` are the clusters as they are
    written.
    """

    site: Worksite
    slots: Slots
    configured: dict[str, schema.Cluster]
    subsets: SubsetBuilder
    limits: dict[str, RateLimit]
    bandwidth: dict[str, BothWays]
    held: Held

    def route(self, route: schema.Route) -> RouteRuntime:
        chosen = [self.limits[name] for name in route.rate_limits]
        gate = LimitGate(RateLimits(chosen, self.site.metrics)) if chosen else None
        upgrades = [protocol.lower().encode() for protocol in route.upgrade]
        runtime = HeldRoute(
            None if route.cluster is None else self.subsets.among(route.cluster, route),
            gate,
            route.timeout,
            upgrades,
            self.retry(route),
            CLASSES.index(route.priority),
            (route.priority_field or "").encode(),
            hash_policy(route),
            conditions(route.match, repr(route.cluster or route.clusters)),
            action_of(route, self.subsets.whole, self.site, self.slots, self.held),
            self.hedge(route),
            plan_of([self.bandwidth[name] for name in route.bandwidth_limits]),
        )
        runtime.held = self.held
        return runtime

    def retry(self, route: schema.Route) -> RetryPolicy | None:
        retry = route.retry
        if retry is None:
            return None
        base, split = retry.backoff.base, [one.cluster for one in route.clusters]
        return RetryPolicy(
            None if route.cluster is None else self.retry_budget(self.configured[route.cluster]),
            retry.on,
            statuses=retry.statuses,
            headers=retry.headers,
            attempts=retry.attempts,
            timeout_ns=route.timeout,
            per_try_ns=retry.per_try_timeout or 0,
            base_ns=base,
            max_ns=retry.backoff.max or MOST_BACKOFFS * base,
            max_body=retry.max_body,
            budgets={name: self.retry_budget(self.configured[name]) for name in split} if split else None,
        )

    def hedge(self, route: schema.Route) -> HedgePolicy | None:
        if route.hedge is None:
            return None
        clusters = clusters_of(route)
        budgets = {name: self.retry_budget(self.configured[name]) for name in clusters}
        if route.hedge.after is not None:
            return HedgePolicy(budgets, route.timeout, after_ns=route.hedge.after)
        told = {name: self.slots.word(names.cluster_slowness(name, route.hedge.percentile)) for name in clusters}
        return HedgePolicy(budgets, route.timeout, words=Words(self.site.segment), told=told)

    def retry_budget(self, cluster: schema.Cluster) -> RetryBudget:
        slots, name = self.slots, cluster.name
        return RetryBudget(
            self.site.gauges,
            self.site.metrics,
            [slots.gauge(names.endpoint_active(name, str(one.address))) for one in cluster.endpoints],
            percent=cluster.retry_budget.percent,
            min_concurrency=cluster.retry_budget.min_concurrency,
            max_retries=cluster.max_retries,
            retries=slots.gauge(names.cluster_retries_active(name)),
            granted=slots.counter(names.cluster_retries(name)),
            refused=slots.counter(names.cluster_retries_refused(name)),
        )
