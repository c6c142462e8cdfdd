"""Answers of the admin interface: JSON, and errors as the workers answer them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

# After which who was told to ask again may do so: a hot restart takes a second or a few.
AGAIN_S = 5


def error(status: HTTPStatus, message: str, **headers: str) -> web.Response:
    reason = status.phrase.lower().replace(" ", "_")
    return reply({"status": status.value, "reason": reason, "message": message}, status, headers)


def ask_again(message: str) -> web.Response:
    """Nothing is wrong with the request, but it cannot be done now: 503 with `Retry-After`."""
    return error(HTTPStatus.SERVICE_UNAVAILABLE, message, **{"Retry-After": str(AGAIN_S)})


def reply(content: Any, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None) -> web.Response:
    """`content` as JSON that nobody may keep: it is true only now."""
    return web.Response(
        body=msgspec.json.encode(content) + b"\n",
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
