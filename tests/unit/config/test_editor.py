"""The JSON Schema: it knows every key, and what it allows is what the reader allows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from shardproxy.config import forms
from shardproxy.config.editor import json_schema
from shardproxy.config.errors import ConfigErrors
from shardproxy.config.forms import Form
from shardproxy.config.load import parse
from shardproxy.config.schema import Config
from shardproxy.config.shapes import Group, Many, group_of


class EditorLoader(yaml.SafeLoader):
    """YAML 1.2, as editors read it: only `true` and `false` are booleans, so that the key `on` is a word."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if first in "tfTF" or not tag.endswith(":bool")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def load_as_editors_do(text: str) -> Any:
    return yaml.load(text, EditorLoader)


CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "null": type(None)}
SMALL: dict[str, Any] = load_as_editors_do((CONFIGS[0].with_name("minimal.yaml")).read_text())
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
    many, _ = json_schema()["$defs"]["Cluster"]["properties"]["endpoints"]["anyOf"]
    alone, whole = many["items"]["anyOf"]
    assert alone["type"] == "string"
    assert whole == {"$ref": "#/$defs/Endpoint"}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.word)
def test_examples_are_what_the_pattern_and_the_parser_take(form: Form) -> None:
    for example in form.examples:
        assert re.search(form.pattern, example)
        assert form.write(form.parse(example)) == example


def conforms(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """Whether `value` is what `schema` allows; knows the words that our schema uses, and fails at any other."""
    return all(_holds(word, operand, value, schema, root) for word, operand in schema.items())


def _holds(word: str, operand: Any, value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    match word:
        case "$schema" | "$defs" | "title" | "description" | "default" | "examples":
            return True
        case "type":
            return isinstance(value, TYPES[operand]) and (operand == "boolean" or not isinstance(value, bool))
        case "enum":
            return value in operand
        case "pattern":
            return re.search(operand, value) is not None
        case "minimum" | "maximum":
            return bool(value >= operand if word == "minimum" else value <= operand)
        case "anyOf" | "oneOf":
            count = sum(conforms(value, one, root) for one in operand)
            return count > 0 if word == "anyOf" else count == 1
        case "$ref":
            return conforms(value, root["$defs"][operand.removeprefix("#/$defs/")], root)
        case _:
            return _holds_inside(word, operand, value, schema, root)


def _holds_inside(word: str, operand: Any, value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    match word:
        case "required":
            return set(operand) <= set(value)
        case "additionalProperties":
            return set(value) <= set(schema["properties"])
        case "properties":
            return all(conforms(value[key], one, root) for key, one in operand.items() if key in value)
        case "minItems":
            return len(value) >= int(operand)
        case "items":
            return all(conforms(item, operand, root) for item in value)
        case _:
            raise AssertionError(f"the schema uses {word}, which this test does not know")


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.name)
def test_the_configurations_we_ship_conform(file: Path) -> None:
    assert conforms(load_as_editors_do(file.read_text()), json_schema(), json_schema())


@pytest.mark.parametrize(
    "change",
    [
        {"worker": 4},
        {"workers": 0},
        {"workers": "many"},
        {"workers": True},
        {"drain_timeout": 15},
        {"drain_timeout": "15"},
        {"clusters": []},
        {"clusters": [{"name": "app"}]},
        {"clusters": [{"name": "app", "endpoints": ["localhost:80"]}]},
        {"log": {"level": "loud"}},
        {"listeners": [{"bind": "127.0.0.1:80", "routes": [{"match": {}, "cluster": "app"}]}]},
        {
            "listeners": [
                {"bind": "127.0.0.1:80", "routes": [{"match": {"prefix": "/", "path": "/"}, "cluster": "app"}]}
            ]
        },
    ],
    ids=repr,
)
def test_what_the_reader_refuses_does_not_conform(change: dict[str, Any]) -> None:
    assert conforms(SMALL, json_schema(), json_schema())
    assert not conforms({**SMALL, **change}, json_schema(), json_schema())
    with pytest.raises(ConfigErrors):
        parse(json.dumps({**SMALL, **change}), "x.json", {})
