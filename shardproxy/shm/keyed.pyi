from typing import Final, final

from shardproxy.shm.segment import Segment

MAX_RATE: Final[int]
"""Tokens per second and key."""
MAX_BURST: Final[int]

@final
class KeyedBuckets:
    """The token buckets of a limit that is kept by key, in table `slot` of a segment; all processes share them.

    `keys` is for how many keys there are places (a power of two, in sets of 16), `rate_per_s` and `burst` what each
    key has, `patience_ns` for how long a taker may be asked to wait (`reserve`). The rate and the places belong to the
    table: those given here hold if it has none yet, and `set_rate` gives it others. The burst belongs to this object;
    what is missing in a bucket stays the same at another one, and is never more than all of it.
    Raises `IndexError` for a slot that the segment does not have, `ValueError` for what it cannot hold.
    """

    slot: int
    keys: int
    def __init__(
        self, segment: Segment, slot: int, keys: int, rate_per_s: float, burst: int, patience_ns: int = 0
    ) -> None: ...
    def take(self, key: bytes, now_ns: int, cost: int = 1) -> int:
        """0 if `cost` tokens were there and have been taken, else the ns until they would be.

        Over any window of the clock a key that is not evicted gets at most rate * window + burst tokens, of all
        processes together; one that is gets at most as many more as its bucket was short of full then.
        """

    def reserve(self, key: bytes, now_ns: int, cost: int = 1) -> int:
        """From 0 up: taken, after so many ns of waiting. Below 0: not, and asking again makes sense after so many."""

    def enter(self, key: bytes, now_ns: int) -> bool:
        """Take one token; whether another live key was evicted for it."""

    def give_back(self, key: bytes, now_ns: int, cost: int = 1) -> None:
        """Undo a take that was admitted."""

    def set_of(self, key: bytes) -> int:
        """The number of the key's set."""

    def set_rate(self, rate_per_s: float, now_ns: int) -> None:
        """From now on tokens come at another rate, for all processes, and the table has this object's `keys` places.

        As many tokens are missing in each bucket as before. When the table shrinks, keys whose buckets are the nearest
        to being full may lose their places. For one process only, the supervisor. Raises `ValueError` for a rate that
        cannot be.
        """

    def sweep(self, now_ns: int) -> int:
        """How many keys have less than a full bucket; the places of all others are made vacant.

        To be called now and then, at the latest after a thousand million intervals of the rate.
        """
