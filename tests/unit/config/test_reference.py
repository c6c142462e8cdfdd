"""The reference page says what the schema says."""

from __future__ import annotations

import re
from pathlib import Path

from shardproxy.config import forms, reference
from shardproxy.config.schema import Config
from shardproxy.config.shapes import group_of

CONFIGS = Path(__file__).parents[3] / "configs"
PAGE = CONFIGS.with_name("docs") / "configuration.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == reference.render(), "python -m shardproxy.config.reference > docs/configuration.md"


def test_its_examples_are_configurations_we_ship() -> None:
    examples = [part.split("```")[0] for part in reference.render().split("```yaml\n")[1:]]
    assert examples == [(CONFIGS / name).read_text() for name in ("minimal.yaml", "example.yaml")]


def test_every_link_leads_to_a_section() -> None:
    page = reference.render()
    titles = {re.sub(r"\W", "", title) for title in re.findall(r"^## `(.*)`$", page, re.MULTILINE)}
    assert set(re.findall(r"\(#(\w+)\)", page)) == titles


def test_every_form_is_explained() -> None:
    page = reference.render()
    words = {form.word for form in vars(forms).values() if isinstance(form, forms.Form)}
    assert all(f"\n| {word} | " in page for word in words)


def test_every_key_of_the_file_has_a_row() -> None:
    rows = reference.render()
    assert all(f"\n| `{name}` |" in rows or f"\n| [`{name}`](" in rows for name in group_of(Config).keys)
