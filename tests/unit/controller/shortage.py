"""A process without a single descriptor left, as after a leak or with too low a limit."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Meanwhile every open, socket and accept of this process fails with EMFILE."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    null = os.open(os.devnull, os.O_RDONLY)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(null + 64, 256), before[1]))
    try:
        while True:
            try:
                taken.append(os.dup(null))
            except OSError as error:
                assert error.errno == errno.EMFILE
                break
        yield
    finally:
        for fd in (null, *taken):
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
