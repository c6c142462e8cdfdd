"""A configuration as bytes and as plain data: both lead back to it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import yaml

from shardproxy.config.load import load, parse
from shardproxy.config.plain import decode, encode, to_plain

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.name)
def test_bytes_lead_back_to_the_configuration(file: Path) -> None:
    assert decode(encode(load(file))) == load(file)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x81\xa1a\x01", b"\xc1"])
def test_bytes_that_are_no_configuration_are_refused(data: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode(data)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.name)
def test_plain_data_can_be_run_again(file: Path) -> None:
    assert parse(json.dumps(to_plain(load(file))), "x.json") == load(file)


def test_plain_data_is_written_as_a_user_would_write_it() -> None:
    plain = to_plain(load(CONFIGS[0].with_name("full.yaml"), {}))
    assert (plain["workers"], plain["drain_timeout"], plain["admin"]) == ("auto", "30s", {"bind": "127.0.0.1:9901"})
    assert (plain["listeners"][0]["max_body"], plain["rate_limits"][0]["rate"]) == ("100MiB", "1000/s")
    assert plain["clusters"][0]["endpoints"][1] == {
        "address": "127.0.0.1:9002",
        "weight": 1,
        "drain": False,
        "priority": 0,
    }


@pytest.mark.parametrize("written", ["2", "[10.0.0.0/8]"])
def test_a_number_and_a_list_in_its_place_are_both_written_as_they_were(written: str) -> None:
    text = f"""
listeners: [{{bind: 127.0.0.1:80, trusted_proxies: {written}, routes: [{{match: {{prefix: /}}, cluster: app}}]}}]
clusters: [{{name: app, endpoints: [127.0.0.1:1]}}]
"""
    config = parse(text, "test", {})
    plain = to_plain(config)
    assert plain["listeners"][0]["trusted_proxies"] == yaml.safe_load(written)
