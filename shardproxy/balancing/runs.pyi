from collections.abc import Sequence
from typing import NamedTuple

from shardproxy.shm.words import Words

class RunSlots(NamedTuple):
    """One endpoint's words: the run of statuses from 500 on, and of 502 to 504; None: not counted."""

    errors: int | None
    gateway: int | None

class Runs:
    """Counts how often in a row each endpoint of a cluster has failed, in all workers together.

    A run that has reached its limit stays until the controller takes it back.
    """

    count: int
    def __init__(
        self, words: Words, endpoints: Sequence[RunSlots], *, errors_limit: int, gateway_limit: int
    ) -> None: ...
    def take(self, index: int, status: int) -> None:
        """An endpoint's answer; a request that got none counts as 503.  Raises `IndexError`."""
