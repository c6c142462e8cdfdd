"""Tasks that run on their own, with nothing that awaits them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def background(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task; an exception that ends it goes to the loop's exception handler at once.

    asyncio reports such an exception only when nothing refers to the task any more. A manager that keeps its task would
    end unseen.
    """
    task = asyncio.get_running_loop().create_task(coroutine)
    task.add_done_callback(_report)
    return task


def _report(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        message = "a task that runs on its own has ended"
        task.get_loop().call_exception_handler({"message": message, "exception": error, "task": task})
