"""What was measured: one sample a measurement, summarised over rounds, as a table and as JSON.

A ratio compares with the reference in the *same* round, since a shared machine drifts between rounds; the summary
gives the median of these ratios, not the ratio of two medians.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtests.cpu import CpuTime
from loadtests.work import Outcome

REFERENCE = "nginx"


@dataclass(frozen=True)
class Sample:
    """One measurement. `cpu` is None for `direct`, where there is no proxy; `roles` splits it by process."""

    work: str
    proxy: str
    round: int
    outcome: Outcome
    cpu: CpuTime | None = None
    roles: dict[str, CpuTime] = field(default_factory=dict)

    def per_request(self, time_us: Callable[[CpuTime], int]) -> float | None:
        """Microseconds of CPU per completed request; None without a proxy or without requests."""
        if self.cpu is None or self.outcome.requests == 0:
            return None
        return time_us(self.cpu) / self.outcome.requests

    @property
    def cpu_us(self) -> float | None:
        return self.per_request(lambda cpu: cpu.total_us)

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.outcome.requests / self.outcome.seconds if self.outcome.seconds else 0.0


@dataclass(frozen=True)
class Spread:
    """Median of the rounds with the least and the greatest."""

    median: float
    least: float
    greatest: float


@dataclass(frozen=True)
class Row:
    """One proxy at one work over all rounds. CPU in microseconds per request, latencies in microseconds."""

    work: str
    proxy: str
    rounds: int
    cpu_us: Spread | None
    user_us: Spread | None
    system_us: Spread | None
    ratio: Spread | None
    rate: Spread
    p50_us: Spread
    p99_us: Spread
    requests: int
    refused: int
    socket_errors: int

    @property
    def is_clean(self) -> bool:
        """Whether every request was answered with success, so that the figures mean something."""
        return self.refused == 0 and self.socket_errors == 0 and self.requests > 0


def spread(values: Sequence[float | None]) -> Spread | None:
    """The spread of the values that are there, or None."""
    there = [value for value in values if value is not None]
    return Spread(median(there), min(there), max(there)) if there else None


def ratios(samples: Sequence[Sample], proxy: str, reference: str = REFERENCE) -> list[float]:
    """CPU per request of `proxy` over that of `reference`, for each round that has both."""
    cost = {(sample.round, sample.proxy): sample.cpu_us for sample in samples}
    found = []
    for number in sorted({sample.round for sample in samples}):
        ours, theirs = cost.get((number, proxy)), cost.get((number, reference))
        if ours is not None and theirs:
            found.append(ours / theirs)
    return found


def _row(work: str, proxy: str, of_work: Sequence[Sample]) -> Row:
    own = [sample for sample in of_work if sample.proxy == proxy]

    def certain(read: Callable[[Sample], float]) -> Spread:
        values = [read(sample) for sample in own]
        return Spread(median(values), min(values), max(values))

    return Row(
        work,
        proxy,
        rounds=len(own),
        cpu_us=spread([sample.cpu_us for sample in own]),
        user_us=spread([sample.per_request(lambda cpu: cpu.user_us) for sample in own]),
        system_us=spread([sample.per_request(lambda cpu: cpu.system_us) for sample in own]),
        ratio=spread(ratios(of_work, proxy)),
        rate=certain(lambda sample: sample.rate),
        p50_us=certain(lambda sample: sample.outcome.p50_us),
        p99_us=certain(lambda sample: sample.outcome.p99_us),
        requests=sum(sample.outcome.requests for sample in own),
        refused=sum(sample.outcome.refused for sample in own),
        socket_errors=sum(sample.outcome.socket_errors for sample in own),
    )


def summarise(samples: Sequence[Sample]) -> list[Row]:
    """One row for each work and proxy, in the order in which they were first measured."""
    rows = []
    for work in dict.fromkeys(sample.work for sample in samples):
        of_work = [sample for sample in samples if sample.work == work]
        first_round = sorted(of_work, key=lambda sample: sample.round)
        rows += [_row(work, proxy, of_work) for proxy in dict.fromkeys(sample.proxy for sample in first_round)]
    return rows


def _number(value: Spread | None, form: str = ".1f") -> str:
    return "-" if value is None else format(value.median, form)


def _with_range(value: Spread | None, form: str) -> str:
    if value is None:
        return "-"
    return f"{value.median:{form}} ({value.least:{form}}..{value.greatest:{form}})"


def _errors(row: Row) -> str:
    if row.is_clean:
        return "0"
    parts = [(row.refused, "not 2xx"), (row.socket_errors, "socket")]
    said = ", ".join(f"{count} {kind}" for count, kind in parts if count)
    return f"[red]{said or 'no request done'}[/red]"


def table(rows: Sequence[Row]) -> Table:
    """The rows for a terminal: medians, with least..greatest where it matters."""
    drawn = Table(title="CPU per request, medians of the rounds (least..greatest)")
    for heading in ("work", "proxy"):
        drawn.add_column(heading, no_wrap=True)
    for heading in ("CPU us/request", "user", "system", f"x {REFERENCE}", "requests/s", "p50 ms", "p99 ms", "errors"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    previous = None
    for row in rows:
        if previous not in (None, row.work):
            drawn.add_section()
        previous = row.work
        drawn.add_row(row.work, row.proxy, *_cells(row))
    return drawn


def _cells(row: Row) -> tuple[str, ...]:
    return (
        _with_range(row.cpu_us, ".1f"),
        _number(row.user_us),
        _number(row.system_us),
        _with_range(row.ratio, ".2f"),
        _number(row.rate, ",.0f"),
        f"{row.p50_us.median / 1000:.2f}",
        f"{row.p99_us.median / 1000:.2f}",
        _errors(row),
    )


def show(rows: Sequence[Row], notes: Sequence[str]) -> None:
    """Print the table, then the notes: what was skipped or failed, and why."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 160)  # in a file or pipe there is no edge to wrap at
    if rows:
        console.print(table(rows))
    for note in notes:
        console.print(f"note: {note}", markup=False, highlight=False)


def write_json(path: Path, samples: Sequence[Sample], about: dict[str, Any], notes: Sequence[str]) -> None:
    """Write everything: `about` the run, notes, the summary and each sample."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        **about,
        "notes": list(notes),
        "summary": [asdict(row) | {"is_clean": row.is_clean} for row in summarise(samples)],
        "samples": [asdict(sample) | {"cpu_us_per_request": sample.cpu_us} for sample in samples],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
