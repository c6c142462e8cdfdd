"""What operators have asked for: by a signal, by the admin interface, or the supervisor by itself.

Requests that one operation can do at once are joined while they wait, so that twenty signals are not twenty reloads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, cast

import msgspec

from shardproxy.control.messages import Wish
from shardproxy.supervisor.state import Post

Name = Wish | Literal["recycle"]
Carried = Literal["reload", "restart", "scale"]
# Those that read what is to be done when they begin, so that one does what several have asked for before.
_IDEMPOTENT = ("reload", "restart")
# Those that mean the same to the code that comes with a hot restart.
_CARRIED = ("reload", "restart", "scale")


class Asker(NamedTuple):
    """A controller's message that is to be answered: over the channel of `post`, with its `id`."""

    post: Post
    id: int


@dataclass(frozen=True)
class Request:
    """One operation that was asked for, `times` times; nobody among `askers` if only by signals.

    `workers` is how many there are to be; without it, `step` is how many more.  `found` and `version` are as in `Ask`;
    `subject` is the post that is to be recycled, which only the supervisor itself asks for.
    """

    what: Name
    workers: int | None = None
    step: int = 0
    askers: tuple[Asker, ...] = ()
    times: int = 1
    subject: Post | None = None
    found: bytes = b""
    version: int = 0

    @property
    def is_quiet(self) -> bool:
        """It may come many times a second: one line in the log, and no news for operators."""
        return self.what == "endpoints"

    @property
    def is_carried(self) -> bool:
        """A hot restart hands it to the new code."""
        return self.what in _CARRIED

    def joins(self, waiting: Request) -> bool:
        """Whether `waiting`, which has not begun, can do this too."""
        if self.what != waiting.what:
            return False
        if self.what == "scale":
            return self.workers is None and waiting.workers is None
        return self.what in _IDEMPOTENT

    def joined(self, other: Request) -> Request:
        """Both in one."""
        askers = self.askers + other.askers
        return replace(self, step=self.step + other.step, times=self.times + other.times, askers=askers)


class RequestRecord(msgspec.Struct, frozen=True):
    """A request that waits while a hot restart replaces the code; `askers` by pid and id."""

    what: Carried
    workers: int | None
    step: int
    times: int
    askers: tuple[tuple[int, int], ...]


def record_of(request: Request) -> RequestRecord:
    """Only of one that `is_carried`."""
    return RequestRecord(cast(Carried, request.what), request.workers, request.step, request.times, pids_of(request))


def pids_of(request: Request) -> tuple[tuple[int, int], ...]:
    """Its askers that still live."""
    return tuple((post.child.pid, number) for post, number in request.askers if post.child is not None)


def request_of(record: RequestRecord, posts: Mapping[int, Post]) -> Request:
    """What was recorded, asked by the children that still fill `posts`, by pid."""
    askers = askers_of(record.askers, posts)
    return Request(record.what, record.workers, record.step, askers, record.times)


def askers_of(pids: tuple[tuple[int, int], ...], posts: Mapping[int, Post]) -> tuple[Asker, ...]:
    return tuple(Asker(posts[pid], number) for pid, number in pids if pid in posts)
