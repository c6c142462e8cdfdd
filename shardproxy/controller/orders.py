"""What the supervisor says to the controller, and what it does about it."""

from __future__ import annotations

import asyncio
import logging
import os
import time

from shardproxy.control.channel import ChannelError, PeerGone
from shardproxy.control.messages import (
    Abort,
    Answer,
    Applied,
    Commit,
    Drain,
    Message,
    Prepare,
    Prepared,
    Refused,
    Stop,
)
from shardproxy.control.plan import Plan, UnreadablePlan
from shardproxy.control.seat import Seat
from shardproxy.controller.view import View
from shardproxy.controller.wishes import Wishes
from shardproxy.observe import log

# To operators who ask meanwhile, or whose answer does not come in time; another controller may be there already.
LEAVING = "this controller is leaving; ask again, or see /stats for what came of it"

logger = logging.getLogger(__name__)


class Orders:
    """Reads the channel.  `last_word` is the Drain or Stop after which the controller leaves."""

    def __init__(self, seat: Seat, view: View) -> None:
        self._seat = seat
        self._view = view
        self._loop = asyncio.get_running_loop()
        self._plan: Plan | None = None
        self.wishes = Wishes(seat.channel.send)
        self.last_word: asyncio.Future[Drain | Stop] = self._loop.create_future()
        self.is_orphan = False

    def listen(self) -> None:
        self._loop.add_reader(self._seat.channel.fileno(), self._read)

    def tell(self, message: Message) -> None:
        try:
            self._seat.channel.send(message)
        except ChannelError as error:
            logger.debug("%s cannot say %s: %s", self._seat.name, type(message).__name__, error)

    def _read(self) -> None:
        channel = self._seat.channel
        try:
            while (message := channel.receive()) is not None:
                self._try_to_obey(message, channel.take_descriptors())
        except PeerGone:
            self._loop.remove_reader(channel.fileno())
            logger.warning("the supervisor is gone; leaving")
            self.is_orphan = True
            self._leave(
                Drain(deadline_ns=time.monotonic_ns()), "the supervisor is gone, and did not say what came of it"
            )

    def _try_to_obey(self, message: Message, descriptors: list[int]) -> None:
        """A message that cannot be obeyed is not the last one."""
        try:
            self._obey(message, descriptors)
        except Exception as error:
            what = f"the supervisor's message {type(message).__name__}"
            self._view.failures.note(what, error, "the next message is read as ever")

    def _obey(self, message: Message, descriptors: list[int]) -> None:
        match message:
            case Prepare():
                self._prepare(message, descriptors)
            case Commit(version=version) if self._plan is not None and self._plan.version == version:
                self._commit(self._plan)
            case Abort():
                self._plan = None
            case Answer(id=0):
                self._view.note(message)
            case Answer():
                self.wishes.hear(message)
            case Drain() | Stop():
                self._leave(message)

    def _leave(self, word: Drain | Stop, why: str = LEAVING) -> None:
        """Also when it is leaving already: the deadline may be another."""
        self.wishes.close(word.deadline_ns if isinstance(word, Drain) else time.monotonic_ns(), why)
        if not self.last_word.done():
            self.last_word.set_result(word)

    def _prepare(self, message: Prepare, descriptors: list[int]) -> None:
        try:
            self._plan = self._plan_in(descriptors)
        except UnreadablePlan as error:
            self.tell(Refused(message.version, f"{self._seat.name}: {error}"))
        except Exception as error:
            self.tell(Refused(message.version, f"{self._seat.name}: {log.describe(error)}"))
            raise
        else:
            self.tell(Prepared(message.version))
        finally:
            for fd in descriptors:
                os.close(fd)

    def _plan_in(self, descriptors: list[int]) -> Plan:
        if not descriptors:
            raise UnreadablePlan("the configuration has not arrived; has this process too few descriptors left?")
        return Plan.read(descriptors[0], self._seat.segment.capacities)

    def _commit(self, plan: Plan) -> None:
        self._plan = None
        self._view.serve(plan)
        log.setup(plan.config.log, self._seat.name)
        self.tell(Applied(plan.version))
