"""What operators ask for while the proxy runs: one operation at a time, the others wait in their order.

    signal or Ask ──> queue ──> begin ──> (go_on, heard, lost)* ──> Outcome ──> Answer, log, /stats

An operation never waits itself: it says at each turn whether it is over, and when it wants to be asked again.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from shardproxy.control.messages import Answer, Ask, Message, Wish
from shardproxy.supervisor.care import Care
from shardproxy.supervisor.herald import Herald
from shardproxy.supervisor.state import Household, Phase, Post

# How many may wait; far more than people ask for, few enough to go through.
MAX_WAITING = 16
# The `id` of an answer to nobody: every controller shows the last one.
NEWS = 0

logger = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """How an operation ended; `text` is a sentence for the operator."""

    is_done: bool
    text: str


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


@dataclass(frozen=True)
class Request:
    """Who asked for what: `post` and `id` of the controller's message, or a signal (no post).

    `found` and `version` are as in `Ask`; `subject` is the post that is to be recycled, which only the supervisor
    itself asks for.
    """

    what: Wish | Literal["recycle"]
    workers: int | None = None
    post: Post | None = None
    id: int = NEWS
    subject: Post | None = None
    found: bytes = b""
    version: int = 0

    @property
    def is_quiet(self) -> bool:
        """It may come many times a second: one line in the log, and no news for operators."""
        return self.what == "endpoints"


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
        elif len(self._waiting) >= MAX_WAITING:
            self._answer(request, Outcome(False, f"{MAX_WAITING} operations are waiting already"))
        else:
            self._waiting.append(request)

    @property
    def is_idle(self) -> bool:
        """Nothing is under way, nothing waits."""
        return self._operation is None and not self._waiting

    def resume(self, request: Request, operation: Operation, now_ns: int) -> None:
        """An operation that the former code of this process has begun."""
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
            self.ask(Request(message.what, message.workers, post, message.id, None, message.found, message.version))
        elif self._operation is not None:
            self._operation.heard(post, message)

    def lost(self, post: Post) -> None:
        if self._operation is not None:
            self._operation.lost(post)

    # Inside --------------------------------------------------------------------------------------------------------

    def _begin(self, request: Request, now_ns: int) -> None:
        logger.log(logging.DEBUG if request.is_quiet else logging.INFO, "%s begins", request.what)
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
        logger.log(logging.INFO if outcome.is_done else logging.ERROR, "%s: %s", request.what, outcome.text)
        if request.post is not None:
            self._care.tell(request.post, Answer(request.id, outcome.is_done, outcome.text))
        for controller in self._home.controllers if not request.is_quiet else []:
            self._care.tell(controller, Answer(NEWS, outcome.is_done, f"{request.what}: {outcome.text}"))
