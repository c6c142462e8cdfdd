"""The new code proves itself in a process of its own, before anything is replaced by it.

    supervisor: the same command line again, with SHARDPROXY_PREFLIGHT=FD in its environment
    child:      imports everything, loads the file, builds what a worker would serve; the configuration goes to FD
                exit code 0, or the reason on standard error

The running proxy is not touched by it, whatever it does; one that hangs is ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from shardproxy.config.errors import ConfigErrors
from shardproxy.config.load import load
from shardproxy.config.plain import encode
from shardproxy.config.schema import Config, Log, worker_count
from shardproxy.observe import log, unraisable
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots
from shardproxy.supervisor import catalog
from shardproxy.supervisor.privileges import Identity

_ENVIRONMENT = "SHARDPROXY_PREFLIGHT"
_MOST_WORDS = 2000  # of the reason, in characters

OK, BAD_CONFIGURATION = 0, 2


class Preflight:
    """The child, seen from the supervisor.  Raises `OSError` if it cannot be started.

    `command` is what to run: by default what this process was started with.
    """

    def __init__(self, command: Sequence[str] = ()) -> None:
        self._result = os.memfd_create("shardproxy-preflight", os.MFD_CLOEXEC)
        self._words = os.memfd_create("shardproxy-preflight-words", os.MFD_CLOEXEC)
        try:
            self._process = subprocess.Popen(
                command or [sys.executable, *sys.orig_argv[1:]],
                env={**os.environ, _ENVIRONMENT: str(self._result)},
                pass_fds=[self._result],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._words,
            )
        except OSError:
            self._close()
            raise

    @property
    def is_over(self) -> bool:
        return self._process.poll() is not None

    def config(self) -> bytes | None:
        """What it has found right, once it is over; None if it has not."""
        found = os.pread(self._result, os.fstat(self._result).st_size, 0)
        return found if self._process.returncode == OK and found else None

    def reason(self) -> str:
        """Why not: what it said last, a plain sentence or the end of a traceback."""
        words = os.pread(self._words, _MOST_WORDS * 4, max(0, os.fstat(self._words).st_size - _MOST_WORDS * 4))
        lines = [line for line in words.decode(errors="replace").splitlines() if line.strip()]
        is_traceback = any(line.startswith("Traceback ") for line in lines)
        said = lines[-1] if is_traceback and lines else "\n".join(lines)
        return said[-_MOST_WORDS:] or f"it ended with exit code {self._process.returncode} and without a word"

    def end(self) -> None:
        """Kill it if it still runs; give everything back."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._close()

    def _close(self) -> None:
        os.close(self._result)
        os.close(self._words)


def is_asked_for() -> bool:
    """Whether this process is the child."""
    return _ENVIRONMENT in os.environ


def rehearse(file: Path) -> int:
    """All of the child's life; returns its exit code."""
    fd = int(os.environ.pop(_ENVIRONMENT))
    log.setup(Log(level="error"), "preflight")
    unraisable.install()
    try:
        config = load(file)
    except ConfigErrors as errors:
        print(errors, file=sys.stderr)
        return BAD_CONFIGURATION
    _build(config)
    os.write(fd, encode(config))
    return OK


def _build(config: Config) -> None:
    """What a worker and the controller would do before they serve; an error ends the child with its traceback."""
    from shardproxy.controller.main import serve  # noqa: F401 - importing it is the point
    from shardproxy.worker.rehearsal import rehearse

    if config.user:
        Identity.find(config.user)
    capacities = catalog.capacities(config, worker_count(config))
    slots = Slots(capacities)
    catalog.assign(config, slots)
    segment = Segment.create(capacities)
    try:
        rehearse(config, segment, slots)
    finally:
        segment.close()
