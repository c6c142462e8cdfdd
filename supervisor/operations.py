"""What operators ask for while the proxy runs: one operation at a time, the others wait in their order.

    signal or Ask ──> queue ──> begin ──> (go_on, heard, lost)* ──> Outcome ──> Answer, log, /stats
                       │ a hot restart replaces the code
                       └──> handover record ──> the queue of the new code;  or an answer at once: ask again

An operation never waits itself: it says at each turn whether it is over, and when it wants to be asked again.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from shardproxy.control.messages import Answer, Ask, Message
from shardproxy.supervisor.care import Care
from shardproxy.supervisor.herald import Herald
from shardproxy.supervisor.requests import Asker, Request
from shardproxy.supervisor.state import Household, Phase, Post

# How many of those that must be answered may wait; far more than people ask for, few enough to go through.
MAX_WAITING = 16
# The `id` of an answer to nobody: every controller shows the last one.
NEWS = 0

logger = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """How an operation ended; `text` is a sentence for the operator.

    `is_again` says that nothing is wrong with what was asked for, and that it can be asked for again.
    """

    is_done: bool
    text: str
    is_again: bool = False


REPLACED = Outcome(True, "the hot restart replaces every worker")
ASK_AGAIN = Outcome(False, "a hot restart replaces the code now; ask again", is_again=True)


class Operation:
    """One operation; each method is called between two waits of the supervisor's loop."""

    def begin(self, now_ns: int) -> Outcome | None:
        """Start; an outcome if it is over at once."""
        raise NotImplementedError

    def go_on(self, now_ns: int) -> Outcome | None:
        """What is to be done now; an outcome when it is over."""
        raise NotImplementedError

    def due_ns(self) -> int:
        """When to call `go_on` at the latest, CLOCK_MONOTONIC."""
        raise NotImplementedError

    def heard(self, post: Post, message: Message) -> None:
        """A child has said something."""

    def lost(self, post: Post) -> None:
        """A child has gone."""

    def give_up(self, why: str) -> None:
        """The proxy is to stop: leave everything as it was before."""


Makers = dict[str, Callable[[Request], Operation]]


class Operations:
    """The queue, and the operation under way.  `makers` make one of each kind; a drain is the supervisor's own."""

    def __init__(
        self, home: Household, care: Care, herald: Herald, makers: Makers, drain: Callable[[], str]
    ) -> None:
        self._home = home
        self._care = care
        self._herald = herald
        self._makers = makers
        self._drain = drain
        self._waiting: deque[Request] = deque()
        self._request: Request | None = None
        self._operation: Operation | None = None

    def ask(self, request: Request) -> None:
        """It is done when its turn comes; its outcome is answered and logged."""
        if request.what == "drain":
            self._answer(request, Outcome(True, self._drain()))
        elif self._home.phase not in (Phase.STARTING, Phase.SERVING):
            self._answer(request, Outcome(False, f"not now: {self._home.phase.value}"))
        elif any(request.joins(waiting) for waiting in self._waiting):
            self._join(request)
        elif request.askers and len(self._waiting) >= MAX_WAITING:
            text = f"{MAX_WAITING} operations are waiting already; ask again"
            self._answer(request, Outcome(False, text, is_again=True))
        else:
            self._enqueue(request)

    def ask_next(self, request: Request) -> None:
        """As `ask`, before everything that waits: it belongs to the operation that is under way."""
        self._waiting.appendleft(request)

    @property
    def is_idle(self) -> bool:
        """Nothing is under way, nothing waits."""
        return self._operation is None and not self._waiting

    # Over a hot restart ------------------------------------------------------------------------------------------

    def hand_over(self) -> Sequence[Request]:
        """What waits and is left to the new code; whoever has asked for something else is answered now."""
        for request in [one for one in self._waiting if not one.is_carried]:
            self._waiting.remove(request)
            self._answer(request, REPLACED if request.what == "recycle" else ASK_AGAIN)
        for request in self._waiting:
            logger.info("%s waits; the new code does it after the hot restart", request.what)
        return tuple(self._waiting)

    def resume(self, request: Request, operation: Operation, waiting: Sequence[Request], now_ns: int) -> None:
        """An operation that the former code of this process has begun, and what waited behind it."""
        self._waiting.extend(waiting)
        self._request, self._operation = request, operation
        self._conclude(operation.begin(now_ns))

    def go_on(self, now_ns: int) -> None:
        """Whatever can be done without waiting."""
        if self._operation is not None:
            self._conclude(self._operation.go_on(now_ns))
        while self._operation is None and self._waiting and self._home.phase is Phase.SERVING:
            self._begin(self._waiting.popleft(), now_ns)

    def due_ns(self) -> list[int]:
        return [self._operation.due_ns()] if self._operation is not None else []

    def fail(self, why: str) -> None:
        """What is under way is undone, and can be asked for again; what waits has its turn."""
        if self._operation is not None:
            self._operation.give_up(why)
        self._conclude(Outcome(False, why, is_again=True))

    def give_up(self, why: str) -> None:
        """The end has begun: what runs is undone, what waits is not begun."""
        if self._operation is not None:
            self._operation.give_up(why)
            self._conclude(Outcome(False, why))
        while self._waiting:
            self._answer(self._waiting.popleft(), Outcome(False, why))

    # What children say ---------------------------------------------------------------------------------------------

    def heard(self, post: Post, message: Message) -> None:
        if isinstance(message, Ask):
            asker = Asker(post, message.id)
            self.ask(Request(message.what, message.workers, 0, (asker,), found=message.found, version=message.version))
        elif self._operation is not None:
            self._operation.heard(post, message)

    def lost(self, post: Post) -> None:
        if self._operation is not None:
            self._operation.lost(post)

    # Inside --------------------------------------------------------------------------------------------------------

    def _enqueue(self, request: Request) -> None:
        self._waiting.append(request)
        if self._request is not None and not request.is_quiet:
            logger.info("%s waits until the %s that is under way is over", request.what, self._request.what)

    def _join(self, request: Request) -> None:
        """The first that joins is told of; how many they were is told when the operation begins."""
        index = next(index for index, waiting in enumerate(self._waiting) if request.joins(waiting))
        former = self._waiting[index]
        self._waiting[index] = former.joined(request)
        level = logging.INFO if former.times == 1 else logging.DEBUG
        logger.log(level, "%s is asked for again while one waits; both are done as one", request.what)

    def _begin(self, request: Request, now_ns: int) -> None:
        times = f"; it was asked for {request.times} times and is done once" if request.times > 1 else ""
        logger.log(logging.DEBUG if request.is_quiet else logging.INFO, "%s begins%s", request.what, times)
        self._herald.begins(request.what)
        self._request = request
        self._operation = self._makers[request.what](request)
        self._conclude(self._operation.begin(now_ns))

    def _conclude(self, outcome: Outcome | None) -> None:
        if outcome is not None and self._request is not None:
            request, self._request, self._operation = self._request, None, None
            self._herald.ends(request.what, outcome.text)
            self._answer(request, outcome)

    def _answer(self, request: Request, outcome: Outcome) -> None:
        level = logging.INFO if outcome.is_done else logging.WARNING if outcome.is_again else logging.ERROR
        logger.log(level, "%s: %s", request.what, outcome.text)
        for post, number in request.askers:
            self._care.tell(post, Answer(number, outcome.is_done, outcome.text, outcome.is_again))
        for controller in self._home.controllers if not request.is_quiet else []:
            self._care.tell(controller, Answer(NEWS, outcome.is_done, f"{request.what}: {outcome.text}"))
