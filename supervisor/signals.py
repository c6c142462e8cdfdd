"""Which signal means what, and how it reaches the loop: a handler only leaves a mark, the loop acts on it.

    signal → C handler writes its number to a socket (`signal.set_wakeup_fd`) → selector wakes → `Signals.take`

SIGCHLD needs no action of its own: it wakes the loop, and the loop looks after its children on every turn.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from types import FrameType, TracebackType
from typing import Any


class Action(Enum):
    """What the supervisor does when a signal has arrived."""

    DRAIN = auto()
    """Finish what runs, then exit; the second time: stop at once."""
    STOP = auto()
    """Stop at once."""
    LOOK = auto()
    """A child has changed; looking after the children is all that is needed."""
    RELOAD = auto()
    """Read the file again and serve it, without losing a connection."""
    RESTART = auto()
    """Replace the code and the workers, without losing a connection."""
    MORE = auto()
    """One worker more."""
    FEWER = auto()
    """One worker fewer."""
    REOPEN = auto()
    """Open the access logs anew, which somebody has moved away."""


TABLE: dict[signal.Signals, Action] = {
    signal.SIGTERM: Action.DRAIN,
    signal.SIGINT: Action.STOP,
    signal.SIGQUIT: Action.STOP,
    signal.SIGCHLD: Action.LOOK,
    signal.SIGHUP: Action.RELOAD,
    signal.SIGUSR1: Action.REOPEN,
    signal.SIGUSR2: Action.RESTART,
    signal.SIGTTIN: Action.MORE,
    signal.SIGTTOU: Action.FEWER,
}

# Asks a child to write the Python stacks of all its threads to standard error (`faulthandler.register`).  A real-time
# signal, because nothing else in Python or in a terminal has a use for it.
STACKS = signal.SIGRTMIN


class Signals:
    """The signals of `TABLE`, caught between `__enter__` and `__exit__`; afterwards all is as it was before."""

    def __init__(self) -> None:
        self._reading, self._writing = socket.socketpair()
        self._reading.setblocking(False)
        self._writing.setblocking(False)
        self._former: dict[signal.Signals, Any] = {}
        self._former_fd = -1

    def __enter__(self) -> Signals:
        self._former_fd = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        self._former = {number: signal.signal(number, _leave_the_mark) for number in TABLE}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._former_fd)
        self.close()

    def fileno(self) -> int:
        """Readable when there is something to take."""
        return self._reading.fileno()

    def take(self) -> list[signal.Signals]:
        """All signals of `TABLE` that have arrived since the last call, in their order."""
        with suppress(BlockingIOError):
            return [signal.Signals(mark) for mark in self._reading.recv(4096) if mark in TABLE]
        return []

    def take_all(self) -> list[signal.Signals]:
        """As `take`, until there are no more; only while signals are blocked is there an end to them."""
        taken: list[signal.Signals] = []
        while marks := self.take():
            taken += marks
        return taken

    def put_back(self, marks: Iterable[int]) -> None:
        """Leave these marks to be taken again, as if the signals had arrived now."""
        with suppress(BlockingIOError):
            self._writing.send(bytes(marks))

    def close(self) -> None:
        """Give the descriptors back.  A child calls only this."""
        self._reading.close()
        self._writing.close()


@contextmanager
def held_back() -> Iterator[None]:
    """Deliver no signal in here, neither to this process nor to one forked in here, until the block is left.

    Between `fork` and `reset_in_child` a signal to the child would leave its mark in the supervisor's socket.
    """
    former = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def reset_in_child() -> None:
    """The signals of `TABLE` are for the supervisor alone; a child ignores them and waits for a message.

    A terminal sends Ctrl-C, and systemd or pkill send SIGTERM or SIGHUP, to all processes; were the workers to die of
    it, there would be nobody left to drain.
    """
    signal.set_wakeup_fd(-1)
    for number in TABLE:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else signal.SIG_IGN)


def _leave_the_mark(number: int, frame: FrameType | None) -> None:
    """The mark is in the socket already; Python wants a handler, or it would not catch the signal."""
