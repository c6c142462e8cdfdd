"""What the supervisor says, and what the worker does about it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable

from shardproxy.control.channel import PeerGone
from shardproxy.control.messages import (
    Abort,
    Applied,
    Commit,
    Drain,
    Message,
    Prepare,
    Prepared,
    Refused,
    Reopen,
    Stop,
)
from shardproxy.control.plan import Plan, UnreadablePlan
from shardproxy.control.seat import Seat
from shardproxy.observe import log
from shardproxy.observe.shortages import descriptor_limit
from shardproxy.proxy.process import Process
from shardproxy.proxy.watching import Reader
from shardproxy.worker.service import Service

logger = logging.getLogger(__name__)


class Orders:
    """Reads the channel.  `to_leave` is set once the worker is to drain or, if `is_stopped`, to go at once."""

    def __init__(
        self, seat: Seat, process: Process, service: Service, tell: Callable[[Message], None]
    ) -> None:
        self._seat = seat
        self._process = process
        self._service = service
        self.tell = tell
        self._commits: set[asyncio.Task[None]] = set()
        self._config = seat.config
        self._next_config = seat.config
        self.to_leave = asyncio.Event()
        self.is_stopped = False
        self.is_succeeded = False
        self.deadline_ns = 0

    def listen(self) -> None:
        self._reader = Reader(self._process.watcher, self._seat.channel.fileno(), self._read)

    def _read(self) -> None:
        channel = self._seat.channel
        try:
            while (message := channel.receive()) is not None:
                self._try(message, channel.take_descriptors())
        except PeerGone:
            self._reader.close()
            logger.warning("%s: the supervisor is gone; draining", self._seat.name)
            self._leave(Drain(deadline_ns=time.monotonic_ns() + self._config.drain_timeout))

    def _try(self, message: Message, descriptors: list[int]) -> None:
        """What fails (for want of memory or a descriptor) costs this message; the supervisor sees what is missing."""
        try:
            self._obey(message, descriptors)
        except Exception:
            logger.exception("%s could not do what the message %s asks for", self._seat.name, type(message).__name__)

    def _obey(self, message: Message, descriptors: list[int]) -> None:
        match message:
            case Prepare():
                self._prepare(message, descriptors)
            case Commit(version=version):
                task = self._process.loop.create_task(self._commit(version))
                self._commits.add(task)
                task.add_done_callback(self._commits.discard)
            case Abort():
                self._service.abort()
            case Drain():
                self._leave(message)
            case Reopen():
                self._service.reopen_logs()
            case Stop():
                self.is_stopped = True
                self.to_leave.set()

    def _leave(self, drain: Drain) -> None:
        self.deadline_ns = drain.deadline_ns
        self.is_succeeded = drain.is_succeeded
        self.to_leave.set()

    def _prepare(self, message: Prepare, descriptors: list[int]) -> None:
        """Refusing is always possible: whatever goes wrong in here, the former configuration is served on."""
        sockets: dict[str, socket.socket] = {}
        try:
            plan = self._read_plan(message, descriptors)
            for name in message.sockets:
                sockets[name] = socket.socket(fileno=descriptors[0])
                del descriptors[0]  # it is the socket's now
            self._service.prepare(plan.version, plan.config, plan.slots, sockets)
        except Exception as error:
            for fd in descriptors:
                os.close(fd)
            for sock in sockets.values():
                sock.close()
            if not isinstance(error, UnreadablePlan | OSError):
                logger.exception("%s cannot build configuration %d", self._seat.name, message.version)
            self.tell(Refused(message.version, f"{self._seat.name}: {error}"))
        else:
            self._next_config = plan.config
            self.tell(Prepared(message.version))

    def _read_plan(self, message: Prepare, descriptors: list[int]) -> Plan:
        if len(descriptors) != 1 + len(message.sockets):
            raise UnreadablePlan(
                f"{len(descriptors)} of {1 + len(message.sockets)} descriptors came with the configuration; fewer come "
                f"when the process has as many as RLIMIT_NOFILE allows, {descriptor_limit()}"
            )
        plan = descriptors.pop(0)
        try:
            return Plan.read(plan, self._seat.segment.capacities)
        finally:
            os.close(plan)

    async def _commit(self, version: int) -> None:
        try:
            await self._serve(version)
        except Exception:
            logger.exception("%s cannot serve configuration %d; it will be replaced", self._seat.name, version)

    async def _serve(self, version: int) -> None:
        if not await self._service.commit(version):
            logger.error("%s was to commit configuration %d, which it has not prepared", self._seat.name, version)
            return
        self._config = self._next_config
        log.setup(self._config.log, self._seat.name)
        self.tell(Applied(version))
