"""Count the instructions of the data path's operations and compare them with the table in the repository.

Ends with 1 when an operation has grown by more than --limit percent, with 2 when nothing could be counted.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from loadtests.micro import counting
from loadtests.micro.comparison import Counts, changes

TABLE = Path(__file__).resolve().parent / "instructions.json"
GREW, CANNOT_COUNT = 1, 2


@click.command(help=__doc__)
@click.option("--limit", default=3.0, show_default=True, type=click.FloatRange(0), help="Percent of growth allowed.")
@click.option("--write", is_flag=True, help="Renew the table: what is counted now is what it is compared with later.")
@click.option("--table", "path", default=TABLE, type=click.Path(dir_okay=False, path_type=Path), help="Another table.")
def main(limit: float, write: bool, path: Path) -> None:
    kept = Counts.read(path)
    try:
        now = Counts(counting.tools(), counting.instructions())
    except counting.CannotCount as error:
        click.echo(str(error), err=True)
        sys.exit(CANNOT_COUNT)
    grown = _show(kept, now, limit)
    if write:
        now.write(path)
        click.echo(f"written: {path}")
    elif grown:
        click.echo(f"grew by more than {limit:g} %: {', '.join(grown)}; if it is worth it: --write", err=True)
        sys.exit(GREW)


def _show(kept: Counts | None, now: Counts, limit: float) -> list[str]:
    """Print the comparison; the names of those that have grown too much."""
    before = {} if kept is None else kept.instructions
    found = list(changes(before, now.instructions))
    click.echo(f"{'instructions of one':28}{'before':>12}{'now':>12}")
    for change in found:
        click.echo(str(change))
    for phrase in [] if kept is None else kept.other_tools(now.tools):
        click.echo(f"note: the table was counted with another {phrase}; a difference may be due to that")
    return [change.name for change in found if change.is_growth(limit)]


if __name__ == "__main__":
    main()
