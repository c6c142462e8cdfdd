"""What the schema is written in: the kinds of value, what a key says of itself, and the base of all structs.

Durations are whole nanoseconds, sizes bytes, rates events per second.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, TypeAlias

from msgspec import Meta, Struct

from shardproxy.config import forms
from shardproxy.config.stores import Store
from shardproxy.config.units import Address

SECOND = 10**9
MINUTE = 60 * SECOND
MILLISECOND = 10**6
KIB = 1 << 10

Duration: TypeAlias = Annotated[int, Meta(extra={"form": forms.DURATION})]
Size: TypeAlias = Annotated[int, Meta(extra={"form": forms.SIZE})]
Rate: TypeAlias = Annotated[float, Meta(extra={"form": forms.RATE})]
ByteRate: TypeAlias = Annotated[int, Meta(extra={"form": forms.BYTE_RATE})]
Bind: TypeAlias = Annotated[Address, Meta(extra={"form": forms.ADDRESS})]
Name: TypeAlias = Annotated[str, Meta(extra={"form": forms.NAME})]
ListenerName: TypeAlias = Annotated[str, Meta(extra={"form": forms.LISTENER_NAME})]
Host: TypeAlias = Annotated[str, Meta(extra={"form": forms.HOST})]
Path: TypeAlias = Annotated[str, Meta(extra={"form": forms.PATH})]
PathPrefix: TypeAlias = Annotated[str, Meta(extra={"form": forms.PATH})]
Template: TypeAlias = Annotated[str, Meta(extra={"form": forms.TEMPLATE})]
Pattern: TypeAlias = Annotated[str, Meta(extra={"form": forms.PATTERN})]
Share: TypeAlias = Annotated[int, Meta(extra={"form": forms.SHARE})]
Protocol: TypeAlias = Annotated[str, Meta(extra={"form": forms.PROTOCOL})]
Network: TypeAlias = Annotated[str, Meta(extra={"form": forms.NETWORK})]
User: TypeAlias = Annotated[str, Meta(extra={"form": forms.USER})]
File: TypeAlias = Annotated[str, Meta(extra={"form": forms.FILE})]
Token: TypeAlias = Annotated[str, Meta(extra={"form": forms.TOKEN})]
StoreAddress: TypeAlias = Annotated[Store, Meta(extra={"form": forms.STORE})]
Statuses: TypeAlias = Annotated[str, Meta(extra={"form": forms.STATUSES})]
Label: TypeAlias = Annotated[str, Meta(extra={"form": forms.LABEL})]
Text: TypeAlias = Annotated[str, Meta(extra={"form": forms.TEXT})]
Timeout: TypeAlias = Annotated[Duration, Meta(ge=MILLISECOND)]
Percent: TypeAlias = Annotated[int, Meta(ge=0, le=100)]
Count: TypeAlias = Annotated[int, Meta(ge=1, le=2**31 - 1)]


def says(description: str, **extra: object) -> Meta:
    """What a key is for.

    `otherwise` is what holds without it, where that is not a value; `least` is the fewest items of a list that is
    written; `later` are words not supported yet.
    """
    return Meta(description=description, extra=extra or None)


class Words(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all structs share.

    `lone` names the field that a single word in place of the mapping fills; `later` are keys of the design that this
    version does not have.
    """

    lone: ClassVar[str | None] = None
    later: ClassVar[frozenset[str]] = frozenset()
