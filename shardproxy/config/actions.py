"""What a user can write about what a route does, beside sending requests to one cluster as they are."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from shardproxy.config.words import KIB, Host, Name, Path, Pattern, Share, Size, Text, Token, Words, says


class WeightedCluster(Words, frozen=True, kw_only=True):
    """One of several clusters that share the requests of a route."""

    cluster: Annotated[Name, says("Its name.")]
    weight: Annotated[int, Meta(ge=0, le=1_000_000), says("Its share relative to the others'; 0: none.")] = 1


class Redirect(Words, frozen=True, kw_only=True):
    """Send clients elsewhere: to the same address but for what is written here."""

    status: Annotated[int, Meta(ge=301, le=308), says("Of the response: 301, 302, 303, 307 or 308.")] = 301
    scheme: Annotated[Literal["http", "https"] | None, says("The scheme.", otherwise="the same")] = None
    host: Annotated[Host | None, says("The host.", otherwise="the one that was asked for")] = None
    port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None,
        says("The port.", otherwise="the one that was asked for, or with another `scheme` or `host` none"),
    ] = None
    path: Annotated[Path | None, says("The whole path.", otherwise="the same")] = None
    prefix: Annotated[
        Path | None, says("In place of the path's beginning that the route matches.", otherwise="the same")
    ] = None
    strip_query: Annotated[bool, says("Leave the query away.")] = False


class DirectResponse(Words, frozen=True, kw_only=True):
    """A response that no endpoint is asked for."""

    status: Annotated[int, Meta(ge=200, le=599), says("Its status.")]
    body: Annotated[Text | None, says("Its body.", otherwise="an empty one")] = None
    content_type: Annotated[Text, says("The `Content-Type` of the body.")] = "text/plain; charset=utf-8"


class RegexRewrite(Words, frozen=True, kw_only=True):
    """Change what a pattern finds in the path."""

    pattern: Annotated[Pattern, says("What to find; all that it finds is changed.")]
    substitution: Annotated[Text, says(r"What comes in its place; `\1` is what the first group has found.")]


class Rewrite(Words, frozen=True, kw_only=True):
    """What endpoints are told to be asked for. `X-Forwarded-Host` still says what the client asked."""

    prefix: Annotated[
        Path | None, says("In place of the path's beginning that the route matches.", otherwise="as it came")
    ] = None
    regex: Annotated[RegexRewrite | None, says("Change parts of the path.", otherwise="as it came")] = None
    host: Annotated[Host | None, says("The `Host` field.", otherwise="as it came")] = None


class Mirror(Words, frozen=True, kw_only=True):
    """Send a copy of requests to another cluster, too; its answers are forgotten, and nobody waits for them.

    Copies have `-shadow` behind the name in their `Host`.
    """

    lone: ClassVar[str | None] = "cluster"

    cluster: Annotated[Name, says("Its name.")]
    of: Annotated[Share, says("How many of the requests.")] = 1_000_000
    max_body: Annotated[Size, says("A request with a longer body is not copied.")] = 64 * KIB


class FieldValue(Words, frozen=True, kw_only=True):
    """One field."""

    name: Annotated[Token, says("Its name.")]
    value: Annotated[
        Text,
        says(
            "Its value, with `{client_ip}`, `{request_id}`, `{host}`, `{path}`, `{method}`, `{scheme}`, `{cluster}` "
            "and, in responses, `{status}`; `{{` and `}}` for braces."
        ),
    ]


class Edits(Words, frozen=True, kw_only=True):
    """Changes of fields; first removed, then set, then added."""

    set: Annotated[tuple[FieldValue, ...], says("In place of all fields of that name.", least=1)] = ()
    add: Annotated[tuple[FieldValue, ...], says("Beside those of that name.", least=1)] = ()
    remove: Annotated[tuple[Token, ...], says("Names of fields that go no further.", least=1)] = ()
