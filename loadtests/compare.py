"""The same work through nginx, HAProxy, Envoy and shardproxy: what a request costs in CPU time.

Run from the checkout: `python -m loadtests.compare`, or `make bench`. README.md beside it says what is measured.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that it also runs as a plain script

from loadtests import report
from loadtests.processes import DidNotStart
from loadtests.proxies import NGINX, PROXIES, USUAL, Proxy, on_path
from loadtests.rounds import DIRECT, Bench, Plan
from loadtests.work import WORKS, Load, Work, wrk_runner

RESULTS = Path(__file__).resolve().parent / "results"
INTERRUPTED = 130  # as a shell reports a program that SIGINT ended


def available(wanted: tuple[Proxy, ...], notes: list[str]) -> tuple[Proxy, ...]:
    """Those of the wanted proxies that are installed; each missing one gets a note that says how to get it."""
    found = []
    for proxy in wanted:
        try:
            proxy.binary()
            found.append(proxy)
        except LookupError as error:
            notes.append(f"skipped: {error}")
    return tuple(found)


def cores() -> tuple[int, int]:
    """(the proxies' CPU, the load's): the first and the last this process may run on."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def version(proxy: Proxy) -> str:
    """The line in which the program says its version, or an empty text."""
    try:
        said = subprocess.run([proxy.binary(), *proxy.version], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = [line.strip() for line in (said.stdout + said.stderr).splitlines() if "version" in line.lower()]
    return lines[0] if said.returncode == 0 and lines else ""


def about(plan: Plan, began: float) -> dict[str, Any]:
    """What a reader of the JSON needs to judge the figures."""
    return {
        "began": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(began)),
        "machine": {"cpus": os.cpu_count(), "kernel": platform.release(), "load_average": os.getloadavg()},
        "versions": {proxy.name: version(proxy) for proxy in plan.proxies},
        "rounds": plan.rounds,
        "seconds": plan.load.seconds,
        "connections": plan.load.connections,
        "proxy_cpu": plan.core,
        "load_cpu": plan.load.core,
    }


def required(name: str, how: str) -> str:
    """The path of a program without which nothing can be measured; a plain error otherwise."""
    found = on_path(name)()
    if found is None:
        raise click.ClickException(f"{name} is not installed: {how}")
    return found


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def measure(bench: Bench) -> int:
    """Run the bench; 0, or INTERRUPTED when SIGINT or SIGTERM ended it early."""
    for number in (signal.SIGTERM, signal.SIGINT):  # the latter is ignored where a shell has started this with &
        signal.signal(number, _terminated)
    try:
        bench.run()
    except KeyboardInterrupt:
        bench.notes.append("interrupted: what was measured until then")
        return INTERRUPTED
    except DidNotStart as error:
        raise click.ClickException(str(error)) from error
    return 0


def plan_of(options: dict[str, Any], notes: list[str], directory: Path) -> Plan:
    """The command line as a plan."""
    names, works = options["proxies"], options["works"]
    core, load_core = cores()
    if core == load_core:
        notes.append("only one CPU: proxy and load share it, latencies and rates say little")
    wanted = tuple(each for each in PROXIES if each.name in names) if names else USUAL
    quick = options["quick"]
    return Plan(
        works=tuple(work for work in WORKS if not works or work.name in works),
        proxies=available(wanted, notes),
        with_direct=not names or DIRECT in names,
        rounds=1 if quick else options["rounds"],
        warm_up=not quick,
        load=Load(1 if quick else options["seconds"], options["connections"], load_core),
        core=core,
        directory=directory,
    )


def _list_works(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    for work in WORKS:
        click.echo(f"{work.name:16} {work.meaning}")
    context.exit()


def _names(items: tuple[Work, ...] | tuple[Proxy, ...]) -> list[str]:
    return [item.name for item in items]


@click.command(help=__doc__.splitlines()[0])
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 1000), help="Interleaved rounds.")
@click.option("--seconds", default=3, show_default=True, type=click.IntRange(1, 3600), help="Of each measurement.")
@click.option("--connections", default=64, show_default=True, type=click.IntRange(1, 4096), help="Of wrk.")
@click.option("--work", "works", multiple=True, type=click.Choice(_names(WORKS)), help="Only this; may be repeated.")
@click.option("--proxy", "proxies", multiple=True, type=click.Choice([DIRECT, *_names(PROXIES)]), help="Only this.")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Where the JSON goes.")
@click.option("--quick", is_flag=True, help="One round of one second, no warm-up: does it work?")
@click.option("--list", "listed", is_flag=True, is_eager=True, expose_value=False, callback=_list_works, help="Works.")
def main(path: Path | None, **options: Any) -> None:
    began = time.time()
    notes: list[str] = []
    wrk = required("wrk", "apt-get install wrk")
    required("nginx", f"{NGINX.how_to_get} (it is the origin)")
    with tempfile.TemporaryDirectory(prefix="shardproxy-compare-") as name:
        directory = Path(name)
        plan = plan_of(options, notes, directory)
        os.sched_setaffinity(0, {plan.load.core})  # our own bookkeeping never runs on the proxies' CPU
        bench = Bench(plan, wrk_runner(wrk, directory), lambda text: click.echo(text, err=True), [], notes)
        code = measure(bench)
    path = path or RESULTS / time.strftime("compare-%Y%m%d-%H%M%S.json", time.localtime(began))
    report.write_json(path, bench.samples, about(plan, began), notes)
    report.show(report.summarise(bench.samples), notes)
    click.echo(f"written: {path}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
