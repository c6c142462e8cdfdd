"""A whole supervisor in the test's own process: the test is its operating system and speaks for its children.

Sockets, channels, files and the shared memory are real.  Processes are scripts, time is what the test says, and a
signal is the mark that it would leave.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest

from shardproxy.config.load import load
from shardproxy.control.channel import Channel
from shardproxy.control.messages import Applied, Ask, Prepared, Ready, Wish
from shardproxy.control.seat import Seat
from shardproxy.shm.rows import Kind
from shardproxy.shm.slots import SlotKind, SlotsFull
from shardproxy.supervisor import record as records
from shardproxy.supervisor import succession
from shardproxy.supervisor.children import Entries
from shardproxy.supervisor.main import Supervisor
from shardproxy.supervisor.preflight import Preflight
from shardproxy.supervisor.processes import Processes
from shardproxy.supervisor.record import Record
from shardproxy.supervisor.signals import Signals
from shardproxy.supervisor.state import Child, Household, Phase, Post
from shardproxy.supervisor.systemd import Found, Manager
from shardproxy.supervisor.watch import Watch
from tests.e2e.supervised import free_ports
from tests.unit.supervisor.scripts import Clock, Lines, Script, ScriptedPreflight

SECOND = 1_000_000_000
KINDS = {"worker": Kind.WORKER, "controller": Kind.CONTROLLER}

CONFIGURATION = """
workers: WORKERS
admin: {bind: 127.0.0.1:ADMIN}
drain_timeout: 30s
drain_delay: 4s
restart_timeout: 20s
watchdog: 3s
listeners:
  - {name: web, bind: 127.0.0.1:PORT, routes: [{match: {prefix: /}, cluster: app}]}
clusters:
  - {name: app, endpoints: [127.0.0.1:1]}
"""


class Executed(BaseException):
    """This process would be another program now."""


class Stage:
    """A supervisor with all that it stands on.  `children` are all that were ever forked, the latest last."""

    def __init__(self, file: Path, clock: Clock | None = None, children: list[Script] | None = None) -> None:
        self.file = file
        self.clock = clock or Clock()
        self.children = children if children is not None else []
        self.killed: list[tuple[int, int]] = []
        self.preflights: list[ScriptedPreflight] = []
        self.fork_fails: OSError | None = None
        self.execute_fails: OSError | None = None
        self.has_memory = True
        self.pauses: list[float] = []
        self.nobody_ends = False
        self.marks = Signals()
        self.log: list[str] = []
        self._supervisor: Supervisor | None = None
        self._ended: dict[int, int] = {}
        self.processes = Processes(
            self.clock, self._fork, self._has_ended, self._kill, self._preflight, self._execute,
            self.pauses.append,
        )  # fmt: skip

    @property
    def supervisor(self) -> Supervisor:
        assert self._supervisor is not None, "it has not begun"
        return self._supervisor

    # The supervisor ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """As `main.run` does."""
        self.home = Household.fresh(load(self.file), self.file, Found())
        self._supervise()

    def resume(self, record: Record) -> None:
        """As `main.resume` does."""
        self.home, former = succession.adopt(record)
        self._supervise()
        self.supervisor.succeed(record, former)

    def step(self) -> None:
        """One turn of its loop, in which everything is done that can be done now."""
        self.supervisor.step(0.0)

    def phase(self) -> Phase:
        return self.home.phase

    def serve(self) -> None:
        """Until all children are ready."""
        self.step()
        self.all_get_ready()

    def all_get_ready(self) -> None:
        for child in self.living():
            if child.post.child is not None and not child.post.child.ready:
                child.say(Ready())
        self.step()

    def signal(self, *marks: signal.Signals) -> None:
        """They arrive, and are acted on."""
        self.marks.put_back(marks)
        self.step()

    def pass_time(self, seconds: float) -> None:
        """All children that are not silent give a sign of life; then the supervisor does what is due."""
        self.clock.now_ns += round(seconds * SECOND)
        for child in self.living():
            if not child.is_silent and child.post.child is not None and child.post.child.memory is not None:
                child.post.child.memory.rows.beat(child.row, self.clock.now_ns)
        self.step()

    def ask(self, what: Wish, workers: int | None = None, id: int = 7) -> Script:
        """An operator asks by the controller, which is returned."""
        controller = self.current("controller")
        controller.say(Ask(id, what, workers))
        self.step()
        return controller

    def said(self, text: str, level: str = "") -> bool:
        """Whether this line is in the log; at this level, if it is named."""
        lines = [line.split(" ", 1) for line in self.log]
        return any(said == text and level in ("", at) for at, said in lines)

    # Its children ------------------------------------------------------------------------------------------------

    def living(self) -> list[Script]:
        """Those that the supervisor has not reaped."""
        filled = {child.pid for _, child in self.home.filled()}
        return [child for child in self.children if child.pid in filled]

    def current(self, name: str) -> Script:
        """The child that fills the post of this name."""
        pids = [post.child.pid for post in self.home.posts if post.name == name and post.child is not None]
        return next(child for child in self.children if child.pid in pids)

    def workers(self) -> list[Script]:
        return [self.current(post.name) for post in self.home.workers if post.child is not None]

    def end(self, child: Script, status: int = 0) -> None:
        """The process has ended; its end of the channel is closed."""
        child.close()
        self._ended[child.pid] = status
        self.step()

    def kills(self) -> list[str]:
        """Whom it has sent what, `worker 0 SIGKILL`."""
        names = {child.pid: child.name for child in self.children}
        return [f"{names[pid]} {signal.Signals(number).name}" for pid, number in self.killed]

    # The operating system -------------------------------------------------------------------------------------------

    def _fork(self, home: Household, post: Post, entries: Entries, leave: Callable[[Seat], None]) -> Child:
        row = home.memory.pool.take()
        if self.fork_fails is not None:
            home.memory.pool.give_back(row)
            raise self.fork_fails
        ours, theirs = Channel.pair()
        pid = 1_000_001 + len(self.children)
        home.memory.rows.claim(row, pid, home.generation, KINDS[post.kind])
        self.children.append(Script(post, pid, row, theirs, home.generation))
        born_ns = self.clock()
        return Child(pid, row, ours, born_ns, Watch(home.config.watchdog, born_ns), home.memory, home.generation)

    def _has_ended(self, pid: int) -> int | None:
        return None if self.nobody_ends else self._ended.pop(pid, None)

    def _kill(self, pid: int, number: int) -> None:
        self.killed.append((pid, number))
        if number == signal.SIGKILL:
            self._ended[pid] = number

    def _preflight(self) -> Preflight:
        if not self.has_memory:
            raise MemoryError
        self.preflights.append(ScriptedPreflight())
        return self.preflights[-1]

    def _execute(self, program: str, arguments: list[str]) -> NoReturn:
        raise self.execute_fails or Executed(program, *arguments)

    # Inside --------------------------------------------------------------------------------------------------------

    def _supervise(self) -> None:
        entries = Entries("nobody:worker", "nobody:controller")
        self._supervisor = Supervisor(self.home, self.marks, entries, Manager(), self.processes)
        self._supervisor.sit_down()

    def close(self) -> None:
        for child in self.children:
            child.close()
        self.leave()

    def leave(self) -> None:
        """The supervisor goes; its children stay."""
        self.marks.close()
        if self._supervisor is not None:
            for _, living in self.home.filled():
                living.channel.close()
            self._supervisor.close()


def write(file: Path, workers: int, changes: Mapping[str, str]) -> None:
    """A configuration with free ports; `changes` replace words of it."""
    text = CONFIGURATION
    for word, replacement in changes.items():
        text = text.replace(word, replacement)
    port, admin = free_ports(2)
    text = text.replace("PORT", str(port)).replace("ADMIN", str(admin)).replace("WORKERS", str(workers))
    file.write_text(text)


def fill_the_memory(stage: Stage) -> None:
    """There is no room for another gauge, and what has them belongs to the configuration that is served."""
    with suppress(SlotsFull):
        for number in count():
            name = f"other_{number}"
            stage.home.slots.gauge(name)
            stage.home.slots.note(SlotKind.GAUGE, name, stage.home.version)


def edit(file: Path, before: str, after: str) -> None:
    """The operator changes the file."""
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


@contextmanager
def staged(
    tmp_path: Path, changes: Mapping[str, str] | None = None, *, workers: int = 2, is_serving: bool = True
) -> Iterator[Stage]:
    """A supervisor all of whose children are ready; or, if it is not serving, one that has not done anything yet.

    `changes` replace words of its configuration.
    """
    file = tmp_path / "proxy.yaml"
    write(file, workers, changes or {})
    stage = Stage(file)
    with logged(stage):
        try:
            stage.begin()
            if is_serving:
                stage.serve()
            yield stage
        finally:
            stage.close()


@contextmanager
def logged(stage: Stage) -> Iterator[None]:
    """Everything that the supervisor logs is in `stage.log`."""
    lines, logger = Lines(), logging.getLogger("shardproxy.supervisor")
    former, stage.log = logger.level, lines.lines
    logger.addHandler(lines)
    logger.setLevel(logging.DEBUG)
    try:
        with own_log_handlers():
            yield
    finally:
        logger.removeHandler(lines)
        logger.setLevel(former)


@contextmanager
def own_log_handlers() -> Iterator[None]:
    """What is set up in here closes the handlers that it finds, and those of pytest are not among them."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers.clear()
    try:
        yield
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)


@contextmanager
def replaced(stage: Stage) -> Iterator[Stage]:
    """The preflight of `stage` is right, and the new code goes on with what is left behind; its children come next."""
    stage.preflights[-1].succeeds(load(stage.file))
    with pytest.raises(Executed):
        stage.step()
    new = Stage(stage.file, stage.clock, stage.children)
    new.log = stage.log
    new.resume(record_left_behind(stage))
    try:
        yield new
    finally:
        new.close()


def record_left_behind(stage: Stage) -> Record:
    """What the code that would run now finds, with descriptors of its own; the former code is gone afterwards."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    record = records.find()
    children = [msgspec.structs.replace(each, channel=os.dup(each.channel)) for each in record.children]
    copied = msgspec.structs.replace(
        record,
        segment=os.dup(record.segment),
        bells=tuple(os.dup(bell) for bell in record.bells),
        sockets=[(address, [os.dup(fd) for fd in fds]) for address, fds in record.sockets],
        children=children,
    )
    stage.leave()
    return copied


def say(children: list[Script], message: type[Prepared] | type[Applied], version: int = 2) -> None:
    for child in children:
        child.say(message(version))


def finish(stage: Stage, version: int = 2) -> None:
    """All children prepare what they are offered, and then serve it."""
    for message in (Prepared, Applied):
        say(stage.living(), message, version)
        stage.step()


def add_a_listener(file: Path) -> int:
    """The operator adds the listener `second`; on this port."""
    (port,) = free_ports(1)
    second = f"  - {{name: second, bind: 127.0.0.1:{port}, routes: [{{match: {{prefix: /}}, cluster: app}}]}}\n"
    edit(file, "clusters:\n", second + "clusters:\n")
    return port


def remove_the_listener(file: Path) -> None:
    """The operator removes it again."""
    file.write_text("".join(line for line in file.read_text().splitlines(keepends=True) if "second" not in line))


def record_of(stage: Stage) -> Record:
    """What is left behind when the preflight has been right."""
    stage.preflights[-1].succeeds(load(stage.file))
    with pytest.raises(Executed):
        stage.step()
    return record_left_behind(stage)


def names(children: list[Script]) -> list[str]:
    return [child.name for child in children]


def close(record: Record) -> None:
    for fd in record.descriptors():
        os.close(fd)


def former(stage: Stage) -> list[Script]:
    return [child for child in stage.living() if child.generation == 1]
