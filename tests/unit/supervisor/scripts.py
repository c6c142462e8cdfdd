"""The parts of a stage: a clock, children that the test speaks for, a preflight that it decides on, and the log."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from shardproxy.config.plain import encode
from shardproxy.config.schema import Config
from shardproxy.control.channel import Channel, ChannelError
from shardproxy.control.messages import Answer, Message
from shardproxy.supervisor.preflight import Preflight
from shardproxy.supervisor.state import Post

M = TypeVar("M")


class Clock:
    """Nanoseconds that pass when the test says so; later than any that the machine itself has reached."""

    def __init__(self) -> None:
        self.now_ns = 10**18

    def __call__(self) -> int:
        return self.now_ns


class Script:
    """One child, seen from inside: what it has been told, and what the test lets it say."""

    def __init__(self, post: Post, pid: int, row: int, channel: Channel, generation: int) -> None:
        self.name = post.name
        self.post = post
        self.pid = pid
        self.row = row
        self.generation = generation
        self.channel = channel
        self.is_silent = False
        self.descriptors: list[int] = []
        self._told: list[Message] = []

    def __repr__(self) -> str:
        return f"<Script {self.name} pid={self.pid}>"

    def say(self, *messages: Message) -> None:
        for message in messages:
            self.channel.send(message)

    def told(self, kind: type[M]) -> list[M]:
        """All messages of one kind so far."""
        return [message for message in self.everything() if isinstance(message, kind)]

    def everything(self) -> list[Message]:
        """All that it has been told so far."""
        with suppress(ChannelError):
            while self.channel.fileno() >= 0 and (message := self.channel.receive()) is not None:
                self._told.append(message)
                self.descriptors += self.channel.take_descriptors()
        return list(self._told)

    def answers(self) -> list[Answer]:
        """Those to what it has asked for; news for everybody are left out."""
        return [answer for answer in self.told(Answer) if answer.id]

    def close(self) -> None:
        """What it was told so far is still known afterwards."""
        self.everything()
        self.channel.close()
        while self.descriptors:
            os.close(self.descriptors.pop())


class ScriptedPreflight(Preflight):
    """The child of the new code: it is over when the test says how."""

    def __init__(self) -> None:
        self.found: bytes | None = None
        self.why = ""
        self.has_ended = False
        self.was_ended_by_us = False
        self.at_the_last_look: Callable[[], None] | None = None

    @property
    def is_over(self) -> bool:
        if self.has_ended and self.at_the_last_look is not None:
            happens, self.at_the_last_look = self.at_the_last_look, None
            happens()
        return self.has_ended

    def config(self) -> bytes | None:
        return self.found

    def reason(self) -> str:
        return self.why

    def end(self) -> None:
        self.was_ended_by_us = True

    def succeeds(self, config: Config) -> None:
        self.found, self.has_ended = encode(config), True

    def fails(self, why: str) -> None:
        self.why, self.has_ended = why, True


class Lines(logging.Handler):
    """Every line of the log as it was at the time, `ERROR worker 0 ...`."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        traceback = " (with traceback)" if record.exc_info and record.exc_info[0] else ""
        self.lines.append(f"{record.levelname} {record.getMessage()}{traceback}")
