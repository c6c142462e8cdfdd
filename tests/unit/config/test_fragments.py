"""Endpoints that stand by themselves: one that is sent, some keys of one, and a list in a file."""

from __future__ import annotations

import pytest

from shardproxy.config.errors import ConfigErrors
from shardproxy.config.fragments import Wrong, read_endpoint, read_endpoints, with_keys
from shardproxy.config.places import MAX_ERRORS
from shardproxy.config.schema import Endpoint
from shardproxy.config.units import parse_address

ONE = Endpoint(address=parse_address("127.0.0.1:1"), weight=7, zone="here")


@pytest.mark.parametrize(
    "text",
    ['{"address": "127.0.0.1:1", "weight": 7, "zone": "here"}', "address: 127.0.0.1:1\nweight: 7\nzone: here"],
)
def test_one_is_read_from_json_and_from_yaml(text: str) -> None:
    assert read_endpoint(text) == ONE


def test_an_address_alone_is_enough() -> None:
    assert read_endpoint("127.0.0.1:1") == Endpoint(address=parse_address("127.0.0.1:1"))


def test_the_environment_is_not_read_for_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "127.0.0.1:1")
    with pytest.raises(Wrong):
        read_endpoint("${WHERE}")
    with pytest.raises(Wrong):
        with_keys(ONE, "zone: ${WHERE}")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "line 1: this is not YAML: "),
        ("", "is empty; this needs an address such as 127.0.0.1:8080"),
        ("weight: 2", "address: is missing"),
        ("{address: 127.0.0.1:1, weight: -1, wait: 2}", "weight: "),
        ("{address: 127.0.0.1:1, wait: 2}", "wait: there is no such key; did you mean 'weight'?"),
        ("nonsense", "'nonsense'"),
    ],
)
def test_what_is_wrong_with_one_is_said(text: str, sentence: str) -> None:
    with pytest.raises(Wrong) as caught:
        read_endpoint(text)
    assert sentence in str(caught.value)
    assert not str(caught.value).startswith(":")


def test_at_most_three_problems_are_told_with_semicolons_between() -> None:
    with pytest.raises(Wrong) as caught:
        read_endpoint("{address: 127.0.0.1:1, weight: x, zone: {}, priority: x, max_requests: x}")
    assert [key for key in ("weight", "zone", "priority", "max_requests") if f"{key}: " in str(caught.value)] == [
        "weight", "zone", "priority",
    ]  # fmt: skip
    assert "; zone: " in str(caught.value)


def test_some_keys_are_changed_and_the_others_stay() -> None:
    assert with_keys(ONE, '{"weight": 9}') == Endpoint(address=ONE.address, weight=9, zone="here")
    assert with_keys(ONE, '{"weight": 9, "zone": "there"}') == Endpoint(address=ONE.address, weight=9, zone="there")
    assert with_keys(ONE, "{}") == ONE


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("5", 'this needs keys and values, such as {"weight": 2}; known: address, weight, '),
        ("[1]", "this needs keys and values"),
        (
            '{"address": "127.0.0.1:2"}',
            "the address of an endpoint cannot be changed; add another endpoint and remove this one",
        ),
        ('{"weight": -1}', "weight: "),
        ('{"wait": 1}', "wait: there is no such key"),
        ("{", "line 1: this is not YAML: "),
    ],
)
def test_what_is_wrong_with_keys_is_said(text: str, sentence: str) -> None:
    with pytest.raises(Wrong) as caught:
        with_keys(ONE, text)
    assert str(caught.value).startswith(sentence)


def test_a_list_is_read_in_its_order_and_may_be_empty() -> None:
    assert read_endpoints("- 127.0.0.1:1\n- {address: 127.0.0.1:2, weight: 3}\n", "a.yaml") == (
        Endpoint(address=parse_address("127.0.0.1:1")),
        Endpoint(address=parse_address("127.0.0.1:2"), weight=3),
    )
    assert read_endpoints("[]", "a.yaml") == ()


def test_the_environment_is_read_for_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "127.0.0.1:1")
    assert read_endpoints("- ${WHERE}\n", "a.yaml") == (Endpoint(address=parse_address("127.0.0.1:1")),)


def problems(text: str) -> list[tuple[str, int, str, str]]:
    with pytest.raises(ConfigErrors) as caught:
        read_endpoints(text, "a.yaml")
    return [(each.file, each.line, each.path, each.sentence) for each in caught.value.errors]


def test_what_is_wrong_with_a_list_is_told_with_file_line_and_place() -> None:
    (file, line, path, _), *others = problems("- 127.0.0.1:1\n- nonsense\n")
    assert (file, line, path, others) == ("a.yaml", 2, "[1]", [])
    assert problems("- 127.0.0.1:1\n- 127.0.0.1:1\n") == [
        ("a.yaml", 2, "[1]", "the endpoint '127.0.0.1:1' is in this list twice")
    ]
    (file, line, path, sentence), *_ = problems("- 127.0.0.1:1\n- {")
    assert (file, path) == ("a.yaml", "")
    assert line >= 2
    assert "YAML" in sentence


def test_no_more_problems_are_told_than_can_be_read() -> None:
    assert len(problems("".join("- nonsense\n" for _ in range(MAX_ERRORS + 5)))) == MAX_ERRORS
