"""The JSON Schema: it knows every key, and what it allows is what the reader allows."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from shardproxy.config import forms
from shardproxy.config.editor import json_schema
from shardproxy.config.forms import Form
from shardproxy.config.schema import Config
from shardproxy.config.shapes import Group, Many, group_of

FORMS = [form for form in vars(forms).values() if isinstance(form, Form)]


def groups(group: Group) -> list[Group]:
    inner = [key.shape.item if isinstance(key.shape, Many) else key.shape for key in group.keys.values()]
    return [group, *(deeper for one in inner if isinstance(one, Group) for deeper in groups(one))]


def definition(group: Group) -> dict[str, Any]:
    schema = json_schema()
    found: dict[str, Any] = schema if group.struct is Config else schema["$defs"][group.struct.__name__]
    return found


@pytest.mark.parametrize("group", groups(group_of(Config)), ids=lambda group: group.struct.__name__)
def test_every_key_is_there_with_what_it_is_for_and_no_other_is_allowed(group: Group) -> None:
    schema = definition(group)
    assert list(schema["properties"]) == list(group.keys)
    assert all(one["description"].endswith(".") for one in schema["properties"].values())
    assert schema["required"] == group.required
    assert schema["additionalProperties"] is False


def test_it_is_json() -> None:
    assert json.loads(json.dumps(json_schema())) == json_schema()


def test_every_reference_leads_to_a_definition() -> None:
    schema = json_schema()
    names = re.findall(r'"#/\$defs/(\w+)"', json.dumps(schema))
    assert set(names) == set(schema["$defs"])


def test_numbers_have_their_bounds_and_may_come_from_the_environment() -> None:
    weight = json_schema()["$defs"]["Endpoint"]["properties"]["weight"]
    assert weight["anyOf"] == [
        {"type": "integer", "minimum": 1, "maximum": 1000},
        {"type": "string", "pattern": r"\$\{"},
    ]
    assert weight["default"] == 1


def test_an_endpoint_may_be_its_address_alone() -> None:
    alone, whole = json_schema()["$defs"]["Cluster"]["properties"]["endpoints"]["items"]["anyOf"]
    assert alone["type"] == "string"
    assert whole == {"$ref": "#/$defs/Endpoint"}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.word)
def test_examples_are_what_the_pattern_and_the_parser_take(form: Form) -> None:
    for example in form.examples:
        assert re.search(form.pattern, example)
        assert form.write(form.parse(example)) == example
