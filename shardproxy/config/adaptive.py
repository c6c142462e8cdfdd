"""What a user can write about limits that find themselves."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from shardproxy.config.words import MILLISECOND, SECOND, Count, Duration, Name, Percent, Rate, Timeout, Words, says


class Adaptive(Words, frozen=True, kw_only=True):
    """Requests at a time to a cluster, found out from how long they take: one limit for all workers together."""

    policy: Annotated[
        Literal["gradient", "aimd"],
        says(
            "`gradient` compares how long requests take with how long they take when nothing queues; `aimd` allows one "
            "more while they take less than `latency`, and a tenth fewer when not."
        ),
    ] = "gradient"
    min: Annotated[Count, says("The least that is ever allowed.")] = 4
    max: Annotated[Count, says("The most.")] = 1000
    start: Annotated[Count, says("What is allowed before anything is known.")] = 20
    tolerance: Annotated[
        Annotated[int, Meta(ge=1, le=100)],
        says("For `gradient`: by how many percent requests may take longer than when nothing queues."),
    ] = 25
    latency: Annotated[
        Timeout | None, says("For `aimd`: what is too long for the middle one of them.", otherwise="`aimd` needs it")
    ] = None
    failures: Annotated[Percent, says("For `aimd`: from which share of failed requests on fewer are allowed.")] = 10
    interval: Annotated[Duration, Meta(ge=50 * MILLISECOND), says("From one look to the next.")] = 200 * MILLISECOND
    dry_run: Annotated[bool, says("Refuse nothing: only find the limit, and count what it would refuse.")] = False


class AdaptiveRate(Words, frozen=True, kw_only=True):
    """A rate that follows how a cluster fares: more by a step while all is well, a third less when not."""

    cluster: Annotated[Name, says("The cluster whose requests tell.")]
    min: Annotated[Rate, says("The least that is ever allowed.")]
    max: Annotated[Rate, says("The most.")]
    latency: Annotated[
        Timeout | None,
        says("What is too long for 95 of 100 of them, head sent to response complete.", otherwise="failures tell"),
    ] = None
    failures: Annotated[
        Percent, says("More failed requests than this are too many: no answer, a broken one, or one of 500 and more.")
    ] = 5
    step: Annotated[
        Annotated[int, Meta(ge=1, le=100)],
        says("What is added with each look, in percent of `max`, while all is well and the rate is used up."),
    ] = 5
    interval: Annotated[Duration, Meta(ge=50 * MILLISECOND), says("From one look to the next.")] = SECOND
