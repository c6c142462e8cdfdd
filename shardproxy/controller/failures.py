"""What goes wrong inside the controller: counted, logged, and never the end of a loop.

Everything that the controller does again and again runs in `forever`. A turn that fails is a fault of this process, or
this machine has run out of something; neither says anything about an endpoint, so what was decided stands meanwhile.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import Awaitable, Callable

LINE_EVERY_S = 60.0  # for each place; for each kind of shortage
AGAIN_S = 1.0

# What this machine, and no endpoint, has too little of; and what helps.
SHORTAGES = {
    errno.EMFILE: "raise the limit of open files of this process (LimitNOFILE= in systemd, ulimit -n)",
    errno.ENFILE: "raise the limit of open files of this machine (sysctl fs.file-max)",
    errno.ENOBUFS: "give this machine more memory for sockets",
    errno.ENOMEM: "give this machine more memory",
    errno.EADDRNOTAVAIL: "allow more local ports (sysctl net.ipv4.ip_local_port_range)",
}

logger = logging.getLogger(__name__)


def is_shortage(error: BaseException) -> bool:
    """Whether it is this machine that has run out of something."""
    return isinstance(error, OSError) and error.errno in SHORTAGES


class Failures:
    """Calls `count` for each failure, and logs one line a minute for each place in which something fails."""

    def __init__(self, count: Callable[[], object] = lambda: None, clock: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._clock = clock
        self._places: dict[object, tuple[float, int]] = {}  # when it had its last line, and failures since then

    def note(self, what: str, error: BaseException, then: str) -> None:
        """`what` has failed with `error`, and `then` is what happens next: two parts of a sentence."""
        self._count()
        place: object = error.errno if isinstance(error, OSError) and is_shortage(error) else what
        now = self._clock()
        at, silent = self._places.get(place, (now - LINE_EVERY_S, 0))
        if now < at + LINE_EVERY_S:
            self._places[place] = at, silent + 1
            return
        self._places = {each: last for each, last in self._places.items() if now < last[0] + 2 * LINE_EVERY_S}
        self._places[place] = now, 0
        self._log(what, error, f"{then}{_more(silent)}")

    def _log(self, what: str, error: BaseException, then: str) -> None:
        if isinstance(error, OSError) and is_shortage(error):
            reason, help_ = os.strerror(error.errno or 0), SHORTAGES[error.errno or 0]
            logger.warning("%s failed for want of resources (%s); %s; %s", what, reason, then, help_)
        else:
            logger.error("%s failed; %s", what, then, exc_info=error)


async def forever(
    what: str,
    turn: Callable[[], Awaitable[float]],
    failures: Failures,
    *,
    after_s: float = 0.0,
    again_s: float = AGAIN_S,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Call `turn` until this task is cancelled; it returns after how many seconds it wants to be called again.

    The first time comes in `after_s` seconds. When a turn fails, `what` has failed, and the next comes in `again_s`.
    """
    pause_s = after_s
    while True:
        await sleep(pause_s)
        try:
            pause_s = await turn()
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            pause_s = again_s
            failures.note(what, error, f"it is tried again in {again_s:g} s")


def _more(silent: int) -> str:
    return f" ({silent} more failures since the last line about it)" if silent else ""
