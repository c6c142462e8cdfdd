"""The supervisor: build what exists, then one loop that waits for signals, messages and times until told to stop.

    STARTING -- every worker has been ready --> SERVING     reload, restart, scale: see `operations`
        |                                          |
        +---- SIGTERM ----> LEAVING <-- SIGTERM ---+
        |                      | drain_delay       |
        |                      v                   |
        |                   DRAINING               |
        |                      |                   |
        |       SIGTERM, SIGINT, SIGQUIT           |
        |                      v                   |
        +- SIGINT, SIGQUIT -> STOPPING <-----------+     DRAINING and STOPPING end when nobody is left

Synchronous on purpose: it owns what must outlive everything else, so it does as little as possible.  It waits only in
`select`, and there never longer than a second.
"""

from __future__ import annotations

import gc
import logging
import selectors
import signal
from contextlib import suppress
from pathlib import Path

from shardproxy.config.schema import Config, Log
from shardproxy.control.messages import Wish
from shardproxy.observe import log, unraisable
from shardproxy.shm.rows import State
from shardproxy.shm.slots import SlotsFull
from shardproxy.supervisor import descriptors, succession, systemd
from shardproxy.supervisor import record as records
from shardproxy.supervisor.care import DRAIN_GRACE_NS, Care
from shardproxy.supervisor.children import Entries
from shardproxy.supervisor.endpoints import Endpoints
from shardproxy.supervisor.helm import Helm
from shardproxy.supervisor.herald import Herald
from shardproxy.supervisor.memory import SUPERVISOR_ROW
from shardproxy.supervisor.operations import Makers, Operations
from shardproxy.supervisor.pidfile import PidFile, PidFileError
from shardproxy.supervisor.privileges import PrivilegeError
from shardproxy.supervisor.processes import Processes
from shardproxy.supervisor.record import Record
from shardproxy.supervisor.recycle import Recycle, Scales
from shardproxy.supervisor.reexec import Restart
from shardproxy.supervisor.reload import Reload
from shardproxy.supervisor.requests import Request, askers_of, request_of
from shardproxy.supervisor.scale import MAX_WORKERS, Scale
from shardproxy.supervisor.signals import TABLE, Action, Signals
from shardproxy.supervisor.sockets import BindError
from shardproxy.supervisor.state import Household, Phase, Post
from shardproxy.supervisor.succession import Former, Succession
from shardproxy.supervisor.systemd import Manager

# The controller stays until the last worker has gone, so that the drain can be watched; then it has this long.
CONTROLLER_DRAIN_NS = 2_000_000_000
# A worker that ends this often before it was ready for the first time will not get better by itself.
EARLY_ENDS = 5
LONGEST_WAIT_NS = 1_000_000_000
PAUSE_S = 0.1  # after a step for which there was no memory

WISHES: dict[Action, Wish] = {Action.RELOAD: "reload", Action.RESTART: "restart"}
STEPS = {Action.MORE: 1, Action.FEWER: -1}

OK, FAILED = 0, 1

logger = logging.getLogger(__name__)


def run(config: Config, path: Path | None = None, entries: Entries | None = None) -> int:
    """Serve `config` until told to stop; returns the exit code: 0 stopped as asked, 1 failed (the log says why).

    `path` is the file that `config` came from.  `entries` names what the children run (default: the worker and the
    controller of this package).
    """
    log.setup(config.log, "supervisor")
    with Signals() as marks:
        descriptors.raise_limit()
        found = systemd.inherited()
        try:
            home = Household.fresh(config, path, found)
        except (BindError, SlotsFull, PrivilegeError, ValueError, OSError) as error:
            logger.critical("cannot start: %s", error)
            return FAILED
        supervisor = Supervisor(home, marks, entries or Entries.default(), Manager(found))
        try:
            supervisor.sit_down()
        except (PidFileError, OSError) as error:
            logger.critical("cannot start: %s", error)
            supervisor.close()
            return FAILED
        return _serve(supervisor)


def resume(entries: Entries | None = None) -> int:
    """Go on where the former code of this process has left off (a hot restart); as `run`."""
    record = records.find()
    with Signals() as marks:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        log.setup(Log(), "supervisor")
        try:
            home, former = succession.adopt(record)
        except Exception:
            logger.critical("the new code cannot take over, and the old one is gone", exc_info=True)
            return FAILED
        log.setup(home.config.log, "supervisor")
        supervisor = Supervisor(home, marks, entries or Entries.default(), Manager())
        try:
            supervisor.sit_down()
        except (PidFileError, OSError) as error:
            logger.error("%s", error)  # and serve on, now that the former code is gone
        supervisor.succeed(record, former)
        return _serve(supervisor)


def _serve(supervisor: Supervisor) -> int:
    supervisor.report_unraisable()
    try:
        return supervisor.serve()
    finally:
        supervisor.close()
        gc.unfreeze()


class Supervisor:
    """The loop, and one method for each thing that can be asked of it.  `serve` is all that others call."""

    def __init__(
        self,
        home: Household,
        marks: Signals,
        entries: Entries,
        manager: Manager,
        processes: Processes = Processes(),  # noqa: B008 - it is frozen
    ) -> None:
        self._home = home
        self._marks = marks
        self._processes = processes
        self._selector = selectors.DefaultSelector()
        self._selector.register(marks, selectors.EVENT_READ)
        self._care = Care(home, entries, self._selector, marks, processes)
        self._herald = Herald(home, manager)
        self._operations = Operations(home, self._care, self._herald, self._makers(), self._drain_as_asked)
        self._care.audience = self._operations
        self._helm = Helm(home)
        self._scales = Scales(home)
        self._leave_at_ns: int | None = None
        self._exit_code = OK
        self._pid_file: PidFile | None = None

    def sit_down(self) -> None:
        """Take the row, what files there are, and the pid file.  Raises `PidFileError` or `OSError`."""
        home = self._home
        home.sit_down(self._processes.now_ns())
        if home.config.pid_file:
            self._pid_file = PidFile.write(Path(home.config.pid_file))
        if warning := descriptors.enough_for(home.config):
            logger.warning("%s", warning)

    def report_unraisable(self) -> None:
        """From here on its own exceptions that no code can handle are counted and logged."""
        home = self._home
        unraisable.install(unraisable.counter(home.memory.segment, home.slots, SUPERVISOR_ROW, "supervisor"))

    def succeed(self, record: Record, former: Former) -> None:
        """A hot restart goes on: the children of `former` serve until ours are ready."""
        self._herald.resumes()
        now_ns = self._processes.now_ns()
        posts = succession.settle(record, self._home, former, self._care, now_ns)
        operation = Succession(self._home, self._care, self._herald, former, self._scale_next)
        request = Request("restart", askers=askers_of(record.askers(), posts))
        self._operations.resume(request, operation, [request_of(each, posts) for each in record.waiting], now_ns)
        self._marks.put_back(record.signals)

    def serve(self) -> int:
        """Run until everybody has gone; whatever happens, no child is left behind."""
        try:
            while not self._is_over():
                self.step(self._wait_s())
        except Exception:
            logger.critical("the supervisor failed and stops everything", exc_info=True)
            self._exit_code = FAILED
            self._end_with(Phase.STOPPING)
        finally:
            self._care.leave_nobody()
        logger.info("stopped")
        return self._exit_code

    def step(self, wait_s: float) -> None:
        """Wait at most so long for something to happen, and do all that is to be done then.

        Without memory for that what is under way is undone, and the next step comes a moment later."""
        try:
            self._do_all(wait_s)
        except MemoryError:
            logger.error("the supervisor has no memory, gives up what is under way and goes on in %g s", PAUSE_S)
            with suppress(MemoryError):
                self._operations.fail("the supervisor has no memory for it; ask again")
            self._processes.pause(PAUSE_S)

    def close(self) -> None:
        """Give back everything that the system lent."""
        self._selector.close()
        if self._pid_file is not None:
            self._pid_file.remove()
        self._helm.close()
        self._herald.close()
        self._home.close()

    def _makers(self) -> Makers:
        home, care, herald = self._home, self._care, self._herald
        return {
            "reload": lambda request: Reload(home, care, self._scale_next),
            "restart": self._restart,
            "recycle": lambda request: Recycle(home, care, request.subject or home.workers[0]),
            "endpoints": lambda request: Endpoints(home, care, self._scale_next, request),
            "scale": lambda request: Scale(home, care, herald, wanted_workers(request, len(home.workers))),
        }

    def _restart(self, request: Request) -> Restart:
        hand_over = self._operations.hand_over
        return Restart(self._home, self._care, request, hand_over, self._marks, self._processes)

    def _scale_next(self, workers: int) -> None:
        self._operations.ask_next(Request("scale", workers))

    def _is_over(self) -> bool:
        return self._home.phase in (Phase.DRAINING, Phase.STOPPING) and not any(self._home.filled())

    def _do_all(self, wait_s: float) -> None:
        for key, _ in self._selector.select(wait_s):
            if isinstance(key.data, Post):
                self._care.listen_to(key.data)
        for mark in self._marks.take():
            self._act(mark)
        self._care.reap()
        now_ns = self._processes.now_ns()
        self._home.memory.rows.beat(SUPERVISOR_ROW, now_ns)
        self._herald.turn(now_ns)
        self._weigh(now_ns)
        self._go_on(now_ns)
        self._operations.go_on(now_ns)
        self._care.tend(now_ns)
        if self._home.phase in (Phase.SERVING, Phase.LEAVING):
            self._helm.turn(now_ns)

    def _wait_s(self) -> float:
        now_ns = self._processes.now_ns()
        leave_ns = [self._leave_at_ns] if self._leave_at_ns is not None else []
        steer_ns = self._helm.due_ns() if self._home.phase in (Phase.SERVING, Phase.LEAVING) else []
        own_ns = [now_ns + LONGEST_WAIT_NS, *self._scales.due_ns(), *self._herald.due_ns(), *leave_ns, *steer_ns]
        moments = [*own_ns, *self._care.due_ns(), *self._operations.due_ns()]
        return max(0, min(moments) - now_ns) / 1e9

    def _act(self, mark: signal.Signals) -> None:
        action, phase = TABLE[mark], self._home.phase
        if action is Action.REOPEN:
            self._care.reopen_logs()
        elif action in WISHES:
            self._operations.ask(Request(WISHES[action]))
        elif action in STEPS:
            self._operations.ask(Request("scale", step=STEPS[action]))
        elif action is Action.DRAIN and phase in (Phase.STARTING, Phase.SERVING):
            self._leave(mark.name)
        elif action in (Action.DRAIN, Action.STOP) and phase is not Phase.STOPPING:
            logger.info("%s: stopping at once", mark.name)
            self._stop(self._processes.now_ns())

    def _go_on(self, now_ns: int) -> None:
        """From one phase to the next, where that does not come from outside."""
        if self._home.phase is Phase.STARTING:
            self._see_whether_all_are_ready(now_ns)
        elif self._home.phase is Phase.LEAVING and self._leave_at_ns is not None and now_ns >= self._leave_at_ns:
            self._drain(now_ns)
        elif self._home.phase is Phase.DRAINING and not self._has_workers():
            self._drain_controllers(now_ns)

    def _weigh(self, now_ns: int) -> None:
        for post in self._scales.too_heavy(now_ns):
            if self._operations.is_idle:
                logger.warning("%s has more memory than allowed", post)
                self._operations.ask(Request("recycle", subject=post))

    def _has_workers(self) -> bool:
        return any(post.kind == "worker" for post, _ in self._home.filled())

    def _see_whether_all_are_ready(self, now_ns: int) -> None:
        hopeless = [post for post in self._home.workers if post.early_ends >= EARLY_ENDS]
        if hopeless:
            logger.critical("giving up: %s ended %d times before it was ready", hopeless[0].name, EARLY_ENDS)
            self._exit_code = FAILED
            self._stop(now_ns)
        elif all(post.ever_ready for post in self._home.workers):
            self._home.phase = Phase.SERVING
            self._herald.ready()
            logger.info("ready: %s", summary(self._home.config, len(self._home.workers)))

    # The end -------------------------------------------------------------------------------------------------------

    def _drain_as_asked(self) -> str:
        if self._home.phase in (Phase.STARTING, Phase.SERVING):
            self._leave("drain")
        return self._home.phase.value

    def _leave(self, who: str) -> None:
        """Not ready any more: a balancer in front sees it and sends nothing new; then the drain begins."""
        config, now_ns = self._home.config, self._processes.now_ns()
        self._operations.give_up("the proxy is draining")
        self._home.phase = Phase.LEAVING
        self._home.memory.rows.set_state(SUPERVISOR_ROW, State.DRAINING)
        logger.info("%s: draining for at most %g s", who, config.drain_timeout / 1e9)
        self._leave_at_ns = now_ns + config.drain_delay
        self._herald.stopping(config.drain_delay + config.drain_timeout + DRAIN_GRACE_NS)
        self._go_on(now_ns)

    def _drain(self, now_ns: int) -> None:
        self._end_with(Phase.DRAINING)
        deadline_ns = now_ns + self._home.config.drain_timeout
        for post, _ in self._home.filled():
            if post.kind == "worker":
                self._care.drain(post, deadline_ns)
        # From now on each socket has only its worker left: it closes when the worker has emptied its queue and lets go,
        # neither before (which would reset who waits there) nor long after (which would let others wait for nobody).
        self._home.sockets.close_workers()

    def _drain_controllers(self, now_ns: int) -> None:
        for post, child in self._home.filled():
            if child.doom is None:
                self._care.drain(post, now_ns + CONTROLLER_DRAIN_NS)

    def _stop(self, now_ns: int) -> None:
        self._operations.give_up("the proxy is stopping")
        self._end_with(Phase.STOPPING)
        for post, _ in self._home.filled():
            self._care.stop(post, now_ns)

    def _end_with(self, phase: Phase) -> None:
        """Nobody is born any more."""
        self._home.phase = phase
        self._leave_at_ns = None
        for post in self._home.posts:
            post.fork_at_ns = None


def wanted_workers(request: Request, present: int) -> int:
    """How many workers a request for `scale` means; steps lead to no fewer than one and no more than there can be."""
    if request.workers is not None:
        return request.workers
    reached = min(max(present + request.step, 1), MAX_WORKERS)
    return reached if reached != present else present + request.step


def summary(config: Config, workers: int) -> str:
    """`2 workers, listening on 127.0.0.1:8080; admin on http://127.0.0.1:9901`."""
    count = f"{workers} worker{'' if workers == 1 else 's'}"
    binds = ", ".join(str(listener.bind) for listener in config.listeners)
    admin = str(config.admin.bind) if config.admin.bind.is_unix else f"http://{config.admin.bind}"
    return f"{count}, listening on {binds}; admin on {admin}"
