"""What is made of a struct of the schema: the shape of each key, its bounds, its default, and what it says."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, defstruct

from shardproxy.config import forms
from shardproxy.config.shapes import (
    Choice,
    Counted,
    Either,
    Flag,
    Group,
    Key,
    Many,
    Maybe,
    Shape,
    Whole,
    Word,
    group_of,
)
from shardproxy.config.words import Count, Duration, Name, Rate, Timeout, Words, says


def struct(name: str, fields: list[Any], **namespace: Any) -> Any:
    """One that nobody has asked for yet: what was found out of the schema's own is kept."""
    return defstruct(name, fields, bases=(Words,), namespace=namespace, frozen=True, kw_only=True)


AT_LEAST_1 = Annotated[int, Meta(ge=1)]
LAST = 2**31 - 1
COUNT = Whole(1, LAST)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (Annotated[Name, says("")], Word(forms.NAME)),
        (Annotated[Duration, says("")], Word(forms.DURATION)),
        (Annotated[Timeout, says("")], Word(forms.DURATION, 10**6)),
        (Annotated[Annotated[Timeout, Meta(le=10**9)], says("")], Word(forms.DURATION, 10**6, 10**9)),
        (Annotated[Rate, says("")], Word(forms.RATE)),
        (Annotated[int, says("")], Whole()),
        (Annotated[Count, says("")], COUNT),
        (Annotated[bool, says("")], Flag()),
        (Annotated[Literal["a", "b"], says("")], Choice(("a", "b"))),
        (Annotated[Literal["a", "b"], says("", later=frozenset({"c"}))], Choice(("a", "b"), frozenset({"c"}))),
        (Annotated[Count | None, says("")], Maybe(COUNT)),
        (Annotated[Name | None, says("", otherwise="none")], Maybe(Word(forms.NAME))),
        (Annotated[tuple[Name, ...], says("")], Many(Word(forms.NAME))),
        (Annotated[tuple[Name, ...], says("", least=2)], Many(Word(forms.NAME), 2)),
        (Annotated[AT_LEAST_1 | Literal["auto"], says("")], Either(Whole(1), Choice(("auto",)))),
        (Annotated[AT_LEAST_1 | tuple[Name, ...], says("", least=3)], Counted(Whole(1), Many(Word(forms.NAME), 3))),
    ],
)
def test_each_kind_of_value_has_its_shape(kind: Any, shape: Shape) -> None:
    assert group_of(struct("One", [("key", kind)])).keys["key"].shape == shape


def test_a_group_in_a_group_and_a_list_of_groups() -> None:
    inner: Any = struct("Inner", [("name", Annotated[Name, says("A name.")])], lone="name", __doc__="What is inside.")
    several: Any = tuple.__class_getitem__((inner, ...))
    found = group_of(struct("Outer", [("one", Annotated[inner, says("")]), ("many", Annotated[several, says("")])]))
    key = Key("name", Word(forms.NAME), "A name.", required=True)
    expected = Group(inner, {"name": key}, "name", frozenset())
    assert found.keys["one"].shape == expected
    assert found.keys["many"].shape == Many(expected)
    assert expected.summary == "What is inside."


def test_a_key_says_what_it_is_for_whether_it_is_needed_and_what_holds_without_it() -> None:
    fields: list[Any] = [
        ("needed", Annotated[Count, says("It is needed.")]),
        ("given", Annotated[Count, says("It has a default.")], 5),
        ("other", Annotated[Count | None, says("Without it something else holds.", otherwise="any number")], None),
        ("alone", Annotated[Count, says("A word is meant for one of its keys.", lone="inside")], 7),
        ("made", Annotated[Any, says("Made anew.", form=forms.NAME)], msgspec.field(default_factory=list)),
    ]
    found = group_of(struct("One", fields, later=frozenset({"tomorrow"}), __doc__=" One. "))
    assert found.keys == {
        "needed": Key("needed", COUNT, "It is needed.", required=True),
        "given": Key("given", COUNT, "It has a default.", required=False, default=5),
        "other": Key("other", Maybe(COUNT), "Without it something else holds.", False, None, "any number"),
        "alone": Key("alone", COUNT, "A word is meant for one of its keys.", False, 7, lone="inside"),
        "made": Key("made", Word(forms.NAME), "Made anew.", False, []),
    }
    assert (found.lone, found.later, found.summary) == (None, frozenset({"tomorrow"}), "One.")
    assert found.required == ["needed"]


def test_a_key_that_says_nothing_is_a_mistake_of_the_schema() -> None:
    with pytest.raises(AssertionError, match="every key says what it is for"):
        group_of(struct("One", [("key", int)]))
