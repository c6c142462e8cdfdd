"""One request's CPU time by stage: `python -m loadtests.profile`.

Each work runs twice: as it is, for the CPU time of a request, and sampled by `perf`, for the share of each stage. The
kernel's time counts for the stage that called it; on the loopback what is written is also received in that call.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click

from loadtests import cpu, proxies, sampling, stages
from loadtests.compare import RESULTS, cores, required
from loadtests.configurations import Site
from loadtests.processes import DidNotStart, free_ports
from loadtests.work import WORKS, Load, Outcome, Work, WrkFailed, wrk_runner

USUAL = ("get-1k", "post-16k", "new-connection")
CANNOT_SAMPLE = 2


@dataclass(frozen=True)
class Stage:
    """Microseconds of a request, in user space and in the kernel, and the share of the whole."""

    name: str
    user_us: float
    kernel_us: float
    share: float


@dataclass(frozen=True)
class Profile:
    """One work: CPU microseconds of the worker for a request, and its stages. `samples` says how sure they are."""

    work: str
    cpu_us: float
    samples: int
    stages: list[Stage]


@dataclass(frozen=True)
class Bench:
    """A running proxy with one worker, and the load's way to it."""

    worker: int
    port: int
    load: Load
    directory: Path

    def wrk(self, work: Work, load: Load) -> Outcome:
        outcome = wrk_runner(required("wrk", "apt-get install wrk"), self.directory)(work, self.port, load)
        if outcome.errors:
            raise WrkFailed(f"{outcome.errors} requests of {work.name} failed")
        return outcome

    def cost_us(self, work: Work) -> float:
        """CPU time of the worker for one request."""
        self.wrk(work, replace(self.load, seconds=1))
        before = cpu.process_cpu(self.worker)
        outcome = self.wrk(work, self.load)
        return (cpu.process_cpu(self.worker) - before).total_us / outcome.requests

    def profile(self, work: Work) -> Profile:
        cost_us, path = self.cost_us(work), self.directory / f"{work.name}.perf"
        with sampling.sampled(self.worker, path):
            self.wrk(work, self.load)
        samples = sampling.read(path)
        parts = stages.shares(samples).items()
        split = [Stage(name, user * cost_us, kernel * cost_us, user + kernel) for name, (user, kernel) in parts]
        return Profile(work.name, cost_us, len(samples), split)


def profiles(works: list[Work], load: Load, core: int, directory: Path) -> list[Profile]:
    """All works, one after the other, through one proxy. Works with routes of their own are not for this."""
    origins = tuple(free_ports(2))
    port, admin_port = free_ports(2)
    site = Site(port, admin_port, origins, works[0].routes, directory / "shardproxy")
    with (
        proxies.start_origin(origins, directory / "origin", load.core),
        proxies.start(proxies.SHARDPROXY, site, core, "/1k") as running,
    ):
        worker = proxies.roles(running.pid, admin_port)["worker"][0]
        bench = Bench(worker, port, load, directory)
        return [bench.profile(work) for work in works]


def told(found: Profile) -> str:
    """The stages of one work as a table; a stage without a sample is left out."""
    lines = [f"{found.work}: {found.cpu_us:.1f} us of CPU for a request ({found.samples} samples)"]
    lines.append(f"  {'stage':20}{'user us':>9}{'kernel us':>11}{'share':>8}")
    for stage in found.stages:
        if stage.share:
            lines.append(f"  {stage.name:20}{stage.user_us:9.2f}{stage.kernel_us:11.2f}{stage.share:8.1%}")
    user, kernel = sum(stage.user_us for stage in found.stages), sum(stage.kernel_us for stage in found.stages)
    lines.append(f"  {'all':20}{user:9.2f}{kernel:11.2f}{'100.0%':>8}")
    return "\n".join(lines)


@click.command(help=__doc__.splitlines()[0])
@click.option("--seconds", default=3, show_default=True, type=click.IntRange(1, 600), help="Of each of the two runs.")
@click.option("--connections", default=64, show_default=True, type=click.IntRange(1, 4096), help="Of wrk.")
@click.option(
    "--work",
    "names",
    multiple=True,
    default=USUAL,
    show_default=True,
    type=click.Choice([work.name for work in WORKS if work.routes == ("/",)]),
    help="Which; may be repeated.",
)
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Where the JSON goes.")
def main(path: Path | None, names: tuple[str, ...], seconds: int, connections: int) -> None:
    began = time.time()
    core, load_core = cores()
    works = [work for work in WORKS if work.name in names]
    try:
        sampling.perf()
        with tempfile.TemporaryDirectory(prefix="shardproxy-profile-") as directory:
            found = profiles(works, Load(seconds, connections, load_core), core, Path(directory))
    except (sampling.CannotSample, WrkFailed, DidNotStart, LookupError) as error:
        click.echo(str(error), err=True)
        sys.exit(CANNOT_SAMPLE)
    click.echo("\n\n".join(map(told, found)))
    path = path or RESULTS / time.strftime("profile-%Y%m%d-%H%M%S.json", time.localtime(began))
    _write(path, {"began": began, "profiles": [asdict(each) for each in found]})
    click.echo(f"written: {path}", err=True)


def _write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
