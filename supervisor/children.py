"""From the fork to the child's entry: a child leaves behind everything of the supervisor's that is not its own.

    supervisor                                | child
    ------------------------------------------+----------------------------------------------------------
    takes a row, makes a pair of channel ends |
    collects garbage and freezes the rest     |
    forks, signals held back                  | resets its signals
    closes the child's end                    | closes foreign sockets and descriptors
                                              | claims its row, logs under its own name, calls its entry

A child never returns into the supervisor's code: it ends in `os._exit`.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import NoReturn, cast

from shardproxy.control.channel import Channel
from shardproxy.control.seat import ADMIN, Seat
from shardproxy.observe import log, unraisable
from shardproxy.shm import names
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.rows import Kind, Rows
from shardproxy.supervisor import affinity, privileges, signals
from shardproxy.supervisor.privileges import Identity, PrivilegeError
from shardproxy.supervisor.state import Child, Household, Post
from shardproxy.supervisor.watch import Watch

_STDIO = (0, 1, 2)
_MOST_DESCRIPTORS = 1 << 20
# How long a child may take to report ready, if the watchdog is not more patient: a busy machine imports for seconds.
START_PATIENCE_NS = 10_000_000_000
_KINDS = {"worker": Kind.WORKER, "controller": Kind.CONTROLLER}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entries:
    """The functions that the children run, as `module:function`; imported in the child only.

    Each takes a `Seat` and returns the exit code.
    """

    worker: str
    controller: str

    @classmethod
    def default(cls) -> Entries:
        return cls(worker="shardproxy.worker.main:serve", controller="shardproxy.controller.main:serve")

    def load(self, seat: Seat) -> Callable[[Seat], int]:
        """Import the function for `seat`; raises `ImportError` or `AttributeError`."""
        module, _, function = (self.worker if seat.kind == "worker" else self.controller).partition(":")
        return cast(Callable[[Seat], int], getattr(import_module(module), function))


@dataclass(frozen=True)
class Body:
    """Who a child is to the system (None: who we are), and on which CPUs it runs (none: on any)."""

    identity: Identity | None
    cpus: set[int]


def fork(home: Household, post: Post, entries: Entries, leave: Callable[[Seat], None]) -> Child:
    """Fill `post` with a new process; raises `OSError` if the system refuses one.

    `leave` closes, in the child, whatever the supervisor holds open that is not in the child's seat.
    """
    ours, theirs = Channel.pair()
    body = Body(home.identity, _cpus(home, post))
    seat = _seat(home, post, home.memory.pool.take(), theirs)
    born_ns = time.monotonic_ns()
    gc.collect()
    gc.freeze()  # what exists now is not touched by the children's collector, so its pages stay shared
    try:
        pid = _fork()
    except OSError:
        home.memory.pool.give_back(seat.row)
        ours.close()
        theirs.close()
        raise
    if pid == 0:
        ours.close()
        _live(seat, entries, body, leave)
    theirs.close()
    watch = Watch(max(home.config.watchdog, START_PATIENCE_NS), born_ns)
    return Child(pid, seat.row, ours, born_ns, watch, home.memory, home.generation)


def how_it_ended(status: int) -> str:
    """`exit code 3` or `killed by SIGSEGV`, from what `waitpid` reports."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _fork() -> int:
    """`os.fork` with no moment in which the child would answer a signal as if it were the supervisor."""
    with signals.held_back():
        pid = os.fork()
        if pid == 0:
            signals.reset_in_child()
    return pid


def _seat(home: Household, post: Post, row: int, channel: Channel) -> Seat:
    is_worker = post.kind == "worker"
    return Seat(
        kind=post.kind,
        index=post.index,
        row=row,
        generation=home.generation,
        version=home.version,
        config=home.config,
        segment=home.memory.segment,
        slots=home.slots,
        bells=home.memory.bells,
        listeners=home.sockets.of_worker(post.index, home.change) if is_worker else {ADMIN: home.sockets.admin},
        channel=channel,
    )


def _cpus(home: Household, post: Post) -> set[int]:
    """Where the child of `post` may run; an empty set is anywhere."""
    if post.kind != "worker":
        return set()
    count = max(len(home.workers), post.index + 1)
    return affinity.assign(count, affinity.available(), home.config.cpu_affinity)[post.index]


def _live(seat: Seat, entries: Entries, body: Body, leave: Callable[[Seat], None]) -> NoReturn:
    """All of a child's life.  Whatever happens, it ends here and never returns into the supervisor's loop."""

    def life() -> int:
        leave(seat)
        _close_all_but(_descriptors(seat))
        return _serve(seat, entries, body)

    code = 1
    try:
        code = exit_code_of(seat.name, life)
    finally:
        os._exit(code & 0xFF)


def exit_code_of(name: str, life: Callable[[], int]) -> int:
    """What `life` returns or asks for by `SystemExit`; 1 after anything else that it raises, which is logged."""
    try:
        return life()
    except PrivilegeError as reason:
        logger.critical("%s cannot begin: %s", name, reason)
    except SystemExit as wish:
        return wish.code if isinstance(wish.code, int) else int(wish.code is not None)
    except BaseException:
        logger.critical("%s failed", name, exc_info=True)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
    return 1


def _serve(seat: Seat, entries: Entries, body: Body) -> int:
    """What is imported is imported before the privileges go: the user may not be able to read it."""
    random.seed()
    faulthandler.enable(file=2)
    faulthandler.register(signals.STACKS, file=2, all_threads=True)
    log.setup(seat.config.log, seat.name)
    requests_before = Metrics(seat.segment, seat.row).counter_row(seat.slots.counter(names.REQUESTS), seat.row)
    Rows(seat.segment).claim(seat.row, os.getpid(), seat.generation, _KINDS[seat.kind], requests_before)
    seat.slots.seal()
    unraisable.install(unraisable.counter(seat.segment, seat.slots, seat.row, seat.kind))
    serve = entries.load(seat)
    affinity.apply(body.cpus)
    if body.identity is not None:
        privileges.drop(body.identity)
    return serve(seat) or 0


def _descriptors(seat: Seat) -> list[int]:
    """The only descriptors that a child may have."""
    shared = (seat.segment.fd, *seat.bells)
    return [*_STDIO, *shared, seat.channel.fileno(), *(one.fileno() for one in seat.listeners.values())]


def _close_all_but(kept: Iterable[int]) -> None:
    """Also what was inherited from whoever started the supervisor: a copy held open here keeps a pipe from ending."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else min(soft, _MOST_DESCRIPTORS)
    start = 0
    for fd in [*sorted(set(kept)), limit]:
        if start < fd:  # an empty range is taken for an endless one when it ends at 0 (CPython 3.11)
            os.closerange(start, fd)
        start = fd + 1
