import asyncio
from collections.abc import Callable

class Watch:
    """The descriptors of one worker. Its epoll is itself watched by the loop, which calls `turn` when one is ready."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None: ...
    def turn(self) -> None: ...

class Reader:
    """Calls `call` whenever `fd` can be read, until it is closed; `fd` stays the caller's.

    As the loop's `add_reader`, but under load it does not have to wait for the loop's turn.  Raises `OSError`, as
    `resume` does, when the kernel does not take the descriptor.
    """

    def __init__(self, watcher: Watch, fd: int, call: Callable[[], object]) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def close(self) -> None: ...
