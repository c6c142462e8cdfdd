"""The calls by which the supervisor makes, ends and replaces processes, and its clock.

They are one object so that a test can be the operating system: with children that it speaks for, and a time that it
sets.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from shardproxy.control.seat import Seat
from shardproxy.supervisor import children
from shardproxy.supervisor.children import Entries
from shardproxy.supervisor.preflight import Preflight
from shardproxy.supervisor.state import Child, Household, Post

Fork = Callable[[Household, Post, Entries, Callable[[Seat], None]], Child]


def has_ended(pid: int) -> int | None:
    """The status of a child that has ended, which is reaped by this; None while it lives."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return status if ended else None


@dataclass(frozen=True)
class Processes:
    """`fork` fills a post with a child; `execute` replaces this process, or raises `OSError`."""

    now_ns: Callable[[], int] = time.monotonic_ns
    fork: Fork = children.fork
    has_ended: Callable[[int], int | None] = has_ended
    kill: Callable[[int, int], None] = os.kill
    preflight: Callable[[], Preflight] = Preflight
    execute: Callable[[str, list[str]], NoReturn] = os.execv
    pause: Callable[[float], None] = time.sleep
