"""The commands; each reads its arguments and calls one function elsewhere.

Exit codes: 0 stopped as asked, 1 failed while running, 2 bad usage or configuration.

What a command needs is imported when it runs: `run` forks, and whatever is loaded before the fork (an event loop, rich)
would be in every process.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from shardproxy.config.schema import Config

BAD_CONFIGURATION = 2

_File = click.Path(path_type=Path)
_Port = click.IntRange(1, 65535)
_Admin = click.option(
    "--admin", default="http://127.0.0.1:9901", show_default=True, help="Its admin interface, or unix:/PATH."
)


def _number(context: click.Context, parameter: click.Parameter, value: float) -> float:
    if math.isnan(value):
        raise click.BadParameter("it is not a number.")
    return value


# A little longer than the controller waits itself, which can say more.
_Patience = click.option(
    "--timeout",
    type=click.FloatRange(0.1, 86_400.0),
    callback=_number,
    default=125.0,
    show_default=True,
    help="Seconds to wait for it.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="shardproxy", prog_name="shardproxy")
def main() -> None:
    """A proxy whose worker processes share one memory and behave as one."""


@main.command()
@click.argument("file", type=_File)
def run(file: Path) -> None:
    """Serve what FILE says, in the foreground.

    SIGTERM finishes what runs and ends it; Ctrl-C ends it at once.
    SIGHUP reloads FILE; SIGUSR2 restarts without a gap.
    """
    from shardproxy.supervisor import preflight, record
    from shardproxy.supervisor.main import resume
    from shardproxy.supervisor.main import run as supervise

    if preflight.is_asked_for():
        sys.exit(preflight.rehearse(file))
    if record.is_left_behind():
        sys.exit(resume())
    sys.exit(supervise(_load(file), file))


@main.command()
@click.argument("file", type=_File)
def check(file: Path) -> None:
    """Say whether FILE is a valid configuration, and if not, what is wrong with it and where."""
    _load(file)
    click.echo(f"{file}: ok")


@main.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from shardproxy.config.editor import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


@main.command()
@click.option("--port", type=_Port, default=8080, show_default=True, help="Where the proxy listens on 127.0.0.1.")
@click.option("--admin-port", type=_Port, default=9901, show_default=True, help="Where its admin interface listens.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="How many workers.")
@click.option("--seconds", type=click.IntRange(min=1), help="Stop after that long. Default: Ctrl-C.")
@click.option("--no-traffic", is_flag=True, help="Make no requests of its own.")
def demo(port: int, admin_port: int, workers: int, seconds: int | None, no_traffic: bool) -> None:
    """Show it at work: three origins, one of them slow, and the proxy in front."""
    from shardproxy.demo.run import Options, run_demo

    sys.exit(run_demo(Options(port, admin_port, workers, seconds, has_traffic=not no_traffic)))


@main.command()
@_Admin
def status(admin: str) -> None:
    """Show what a running proxy is doing."""
    from shardproxy.controller.admin.ask import NoAnswer, ask_stats
    from shardproxy.controller.admin.tables import show

    try:
        stats = ask_stats(admin)
    except NoAnswer as reason:
        _fail(str(reason), 1)
    show(stats)


@main.command()
@_Admin
@_Patience
def reload(admin: str, timeout: float) -> None:
    """Serve the file as it is now, without losing a connection."""
    _change(admin, "/reload", timeout)


@main.command()
@_Admin
@_Patience
def restart(admin: str, timeout: float) -> None:
    """Run the code that is now installed, without losing a request."""
    _change(admin, "/restart", timeout)


@main.command()
@_Admin
@_Patience
def drain(admin: str, timeout: float) -> None:
    """Finish what runs, then end."""
    _change(admin, "/drain", timeout)


@main.command()
@click.argument("workers", type=click.IntRange(1, 512))
@_Admin
@_Patience
def scale(workers: int, admin: str, timeout: float) -> None:
    """Have that many WORKERS."""
    _change(admin, f"/scale?workers={workers}", timeout)


def _change(admin: str, path: str, timeout: float) -> None:
    from shardproxy.controller.admin.ask import NoAnswer, change

    try:
        outcome = change(admin, path, timeout)
    except NoAnswer as reason:
        _fail(str(reason), 1)
    if not outcome.done:
        _fail(outcome.message, 1)
    click.echo(outcome.message)


def _load(file: Path) -> Config:
    """The configuration in `file`; ends the command with one line per error if it is wrong."""
    from shardproxy.config.errors import ConfigErrors
    from shardproxy.config.load import load

    try:
        return load(file)
    except ConfigErrors as errors:
        _fail(str(errors), BAD_CONFIGURATION)


def _fail(sentence: str, code: int) -> NoReturn:
    click.echo(sentence, err=True)
    sys.exit(code)
