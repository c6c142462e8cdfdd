"""All that a child is given at its birth: who it is, and the things that it shares with the others."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from shardproxy.control.channel import Channel

if TYPE_CHECKING:
    from shardproxy.config.schema import Config
    from shardproxy.shm.segment import Segment
    from shardproxy.shm.slots import Slots

SeatKind = Literal["worker", "controller"]

# The name of the controller's listening socket in `Seat.listeners`.
ADMIN = "admin"


@dataclass(frozen=True, kw_only=True)
class Seat:
    """A child's place; a child that dies is followed by another on the same `kind` and `index`.

    `row` is the child's own row of the shared memory, zeroed before it got it; it must `beat` there at least every
    200 ms.  `version` is that of `config`, one more with each reload.  `listeners` holds bound and listening sockets by
    the listener's name; a worker finds all of its listeners, the controller only `ADMIN`.  `slots` is read-only here:
    every name was assigned before the fork.  `bells` are the eventfds of all rows, by which workers wake each other.
    """

    kind: SeatKind
    index: int
    row: int
    generation: int
    version: int = 1
    config: Config
    segment: Segment
    slots: Slots
    listeners: Mapping[str, socket.socket]
    channel: Channel
    bells: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """`worker 1` or `controller`: what the log and the status call it."""
        return f"worker {self.index}" if self.kind == "worker" else self.kind
