"""Tasks that nothing awaits do not end unseen."""

from __future__ import annotations

import asyncio
from typing import Any

from shardproxy.control.background import background


async def ends_with(error: BaseException | None) -> str:
    await asyncio.sleep(0)
    if error is not None:
        raise error
    return "done"


async def reported(
    error: BaseException | None, *, cancel: bool = False
) -> tuple[asyncio.Task[str], list[dict[str, Any]]]:
    """What the loop is told while the task is still referred to."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    task = background(ends_with(error))
    if cancel:
        task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    return task, told


def test_an_exception_that_ends_one_is_reported_at_once_and_only_once() -> None:
    error = ValueError("of a manager")
    task, told = asyncio.run(reported(error))
    assert [(context["exception"], context["task"]) for context in told] == [(error, task)]


def test_one_that_is_done_or_cancelled_is_no_matter() -> None:
    task, told = asyncio.run(reported(None))
    assert (task.result(), told) == ("done", [])
    task, told = asyncio.run(reported(None, cancel=True))
    assert (task.cancelled(), told) == (True, [])
