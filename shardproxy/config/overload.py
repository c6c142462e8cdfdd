"""What a user can write about overload: what counts as full, and what a worker does before it is."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from shardproxy.config.words import MILLISECOND, Count, Duration, Size, Timeout, Words, says

GAP = 10  # percent between the beginning and the end of an action, if the configuration does not say


class Threshold(Words, frozen=True, kw_only=True):
    """From which pressure on something is done, and until when; the first number alone will do."""

    lone: ClassVar[str | None] = "at"

    at: Annotated[Annotated[int, Meta(ge=1, le=1000)], says("It begins when the pressure is this, in percent.")]
    until: Annotated[
        Annotated[int, Meta(ge=0, le=999)] | None,
        says("It ends when the pressure is less.", otherwise="10 less than `at`"),
    ] = None

    @property
    def end(self) -> int:
        return max(0, self.at - GAP) if self.until is None else self.until


class Overload(Words, frozen=True, kw_only=True):
    """What a worker does when it has too much to do. Its pressure is the highest of what is measured, in percent of
    what is written here; each worker measures itself and acts for itself."""

    memory: Annotated[Size | None, says("Resident memory of a worker that is 100 %.", otherwise="not measured")] = None
    loop_lag: Annotated[
        Timeout | None, says("How late a worker may be for what is due, at 100 %.", otherwise="not measured")
    ] = None
    connections: Annotated[
        Count | None, says("Client connections of a worker that are 100 %.", otherwise="not measured")
    ] = None
    descriptors: Annotated[
        Count | None, says("Open descriptors of a worker that are 100 %.", otherwise="its limit, RLIMIT_NOFILE")
    ] = None
    interval: Annotated[Duration, Meta(ge=50 * MILLISECOND), says("From one look to the next.")] = 250 * MILLISECOND
    stop_keep_alive: Annotated[
        Threshold | None,
        says("Responses say that their connection ends, and connections that idle are closed.", otherwise="85"),
    ] = Threshold(at=85)
    refuse_low: Annotated[
        Threshold | None, says("Requests of the class `low` (`priority` of a route) get 503.", otherwise="90")
    ] = Threshold(at=90)
    refuse_normal: Annotated[
        Threshold | None, says("So do those of the class `normal`.", otherwise="95")
    ] = Threshold(at=95)
    pause_accept: Annotated[
        Threshold | None, says("New connections wait in the kernel's queue.", otherwise="98")
    ] = Threshold(at=98)


ACTIONS = ("stop_keep_alive", "refuse_low", "refuse_normal", "pause_accept")
RESOURCES = ("memory", "loop_lag", "connections", "descriptors")
