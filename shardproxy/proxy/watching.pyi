import asyncio

class Watch:
    """The descriptors of one worker. Its epoll is itself watched by the loop, which calls `turn` when one is ready."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None: ...
    def turn(self) -> None: ...
