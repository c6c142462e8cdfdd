"""Why an endpoint is where it is: a number that fits in its decision cell, and the words for it.

Whoever shows it reads the cell, so the words survive the controller that found the reason.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

_DETAIL_BITS = 16
_MOST = (1 << _DETAIL_BITS) - 1


class Why(IntEnum):
    """Its number is kept in shared memory over a hot restart: append only."""

    NOTHING = 0
    GOOD = 1
    STATUS = 2
    BODY = 3
    TIMEOUT = 4
    REFUSED = 5
    BROKEN = 6
    SUCCESS_RATE = 7
    FAILURE_PERCENTAGE = 8
    SERVED = 9
    ERRORS_RUN = 10
    GATEWAY_RUN = 11


_WORDS = {
    Why.NOTHING: "",
    Why.GOOD: "checks are good",
    Why.STATUS: "answered {}",
    Why.BODY: "the answer's body is not as expected",
    Why.TIMEOUT: "no answer in time",
    Why.REFUSED: "cannot be connected to",
    Why.BROKEN: "the answer is broken",
    Why.SUCCESS_RATE: "only {} % of its requests succeed, far fewer than the others'",
    Why.FAILURE_PERCENTAGE: "{} % of its requests fail",
    Why.ERRORS_RUN: "{} failures in a row",
    Why.GATEWAY_RUN: "{} gateway failures in a row",
    Why.SERVED: "the time of its ejection is over",
}


class Reason(NamedTuple):
    """`detail` is a status or a percentage, where `why` has one."""

    why: Why
    detail: int = 0

    @property
    def is_good(self) -> bool:
        return self.why is Why.GOOD

    def encode(self) -> int:
        return self.why << _DETAIL_BITS | min(self.detail, _MOST)

    @classmethod
    def decode(cls, number: int) -> Reason:
        """The inverse of `encode`; a number of a later version reads as nothing known."""
        try:
            return cls(Why(number >> _DETAIL_BITS), number & _MOST)
        except ValueError:
            return cls(Why.NOTHING)

    def __str__(self) -> str:
        return _WORDS[self.why].format(self.detail)
