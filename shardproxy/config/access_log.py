"""What a user can write about access logs."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from shardproxy.config.words import MILLISECOND, SECOND, Duration, File, Words, says


class AccessLog(Words, frozen=True, kw_only=True):
    """A line for every request that is over. Listeners may share a file; all workers do."""

    lone: ClassVar[str | None] = "path"

    path: Annotated[
        File,
        says("The file, in a directory that is there. Workers open it, as `user` if that is set; again on SIGUSR1."),
    ]
    format: Annotated[
        Literal["json", "combined"],
        says("`json`: an object in each line; `combined`: as Apache and nginx write it."),
    ] = "json"
    flush: Annotated[
        Duration, Meta(ge=50 * MILLISECOND), says("How long lines may wait to be written, many at a time.")
    ] = SECOND
