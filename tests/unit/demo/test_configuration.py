from __future__ import annotations

from shardproxy.config.load import parse
from shardproxy.demo.configuration import configuration


def test_the_ready_configuration_is_valid_and_says_what_was_asked_for() -> None:
    config = parse(configuration(8080, 9901, 2, ["127.0.0.1:1", "127.0.0.1:2"]), "demo.yaml")
    assert (config.workers, config.admin.bind.port, config.listeners[0].bind.port) == (2, 9901, 8080)
    assert [str(endpoint.address) for endpoint in config.clusters[0].endpoints] == ["127.0.0.1:1", "127.0.0.1:2"]
    assert config.clusters[0].balance == "least_connection"
    assert [route.rate_limits for route in config.listeners[0].routes] == [("few",), ()]
    assert config.rate_limits[0].rate == 5
