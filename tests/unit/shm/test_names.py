from __future__ import annotations

from itertools import combinations, product

from shardproxy.shm import names

OF_ENDPOINTS = (
    names.endpoint_active,
    names.endpoint_connections,
    names.endpoint_requests,
    names.endpoint_failures,
    names.endpoint_time,
    names.bandwidth_passed,
    names.bandwidth_held,
    names.bandwidth_waited,
    names.bandwidth_waiting,
    names.bandwidth_evicted,
)
OF_ONE = (
    names.cluster_requests,
    names.cluster_connections,
    names.listener_connections,
    names.listener_accepted,
    names.rate_limit,
    names.rate_limit_admitted,
    names.rate_limit_refused,
    names.fault,
)
AWKWARD = ("a", "a,b", 'a",address="b', 'a"', 'a\\"', "a\\", "a\n", "a\\n", "a=b", "", " ", "unix:/run/a b")


def test_a_name_reads_as_a_prometheus_series() -> None:
    assert names.endpoint_active("api", "10.0.0.1:9000") == 'endpoint_active{cluster="api",address="10.0.0.1:9000"}'
    assert names.rate_limit("whole-api") == 'rate_limit{name="whole-api"}'
    assert names.fault("connect-timeout") == 'faults{kind="connect-timeout"}'


def test_different_things_never_share_a_name_whatever_they_are_called() -> None:
    made = [make(cluster, address) for make in OF_ENDPOINTS for cluster, address in product(AWKWARD, AWKWARD)]
    made += [make(name) for make in OF_ONE for name in AWKWARD]
    assert len(set(made)) == len(made)


def test_the_constants_differ_from_each_other_and_from_all_functions() -> None:
    constants = [value for name, value in vars(names).items() if name.isupper()]
    assert len(constants) == 13
    assert all(one != other for one, other in combinations(constants, 2))
