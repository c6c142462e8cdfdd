"""Which CPUs each worker may run on (`cpu_affinity`).

Done with `os.sched_setaffinity`, a thin call; psutil would do the same and costs 25 ms of import before every fork.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from typing import Literal

Wish = Literal["none", "auto"] | Sequence[int]

logger = logging.getLogger(__name__)


def available() -> set[int]:
    """The CPUs that this process may run on; in a container with a cpuset fewer than the machine has."""
    return os.sched_getaffinity(0)


def assign(workers: int, cpus: Iterable[int], wish: Wish = "auto") -> list[set[int]]:
    """The CPUs of each worker; an empty set leaves it free.

    `auto` pins each worker to a CPU of its own, if there are at least as many CPUs as workers: its caches stay warm and
    two workers never wait for each other while a CPU idles.  With fewer CPUs two workers would be tied to the same one,
    and if one of them is busy, half of the clients of the other wait although another CPU might be free: then the
    kernel does better.  A sequence of numbers is dealt out in turn, as nginx's `worker_cpu_affinity` is; what is not
    among `cpus` is left out.  `none` leaves all free.
    """
    allowed = sorted(set(cpus))
    if wish == "none" or (wish == "auto" and len(allowed) < workers):
        return [set() for _ in range(workers)]
    listed = allowed if wish == "auto" else [cpu for cpu in wish if cpu in allowed]
    return [{listed[index % len(listed)]} if listed else set() for index in range(workers)]


def apply(cpus: set[int]) -> None:
    """In the child: run only on `cpus`, or wherever it likes if that is empty.  What is refused is logged, no more."""
    if not cpus:
        return
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        names = ", ".join(map(str, sorted(cpus)))
        logger.warning("cannot stay on CPU %s: %s", names, error.strerror)
