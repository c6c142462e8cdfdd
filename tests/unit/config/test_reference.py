"""The reference page says what the schema says."""

from __future__ import annotations

from pathlib import Path

from shardproxy.config import reference
from shardproxy.config.load import parse
from shardproxy.config.schema import Config
from shardproxy.config.shapes import group_of

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == reference.render(), "python -m shardproxy.config.reference > docs/configuration.md"


def test_its_smallest_file_works() -> None:
    example = reference.render().split("```yaml\n")[1].split("```")[0]
    assert parse(example, "x.yaml").clusters[0].name == "app"


def test_every_key_of_the_file_has_a_row() -> None:
    rows = reference.render()
    assert all(f"| `{name}` |" in rows for name in group_of(Config).keys)
