"""What can be asked of the admin interface:

    GET /live    200 as long as the controller runs
    GET /ready   200 when every worker serves, else 503 and why
    GET /stats   all numbers, summed over the workers: see `controller.stats`
    GET /config  the running configuration
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from shardproxy.config.plain import to_plain
from shardproxy.config.schema import worker_count
from shardproxy.control.seat import Seat
from shardproxy.controller.readiness import why_not_ready
from shardproxy.controller.reading import read

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

logger = logging.getLogger(__name__)


def application(seat: Seat) -> web.Application:
    """The admin interface of the proxy that `seat` belongs to."""
    admin = web.Application(middlewares=[errors_as_json])
    answers = Answers(seat)
    admin.router.add_get("/live", answers.live)
    admin.router.add_get("/ready", answers.ready)
    admin.router.add_get("/stats", answers.stats)
    admin.router.add_get("/config", answers.config)
    return admin


class Answers:
    """One method a path."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    async def live(self, request: web.Request) -> web.Response:
        return reply({"live": True})

    async def ready(self, request: web.Request) -> web.Response:
        reason = why_not_ready(self._seat.segment, worker_count(self._seat.config))
        if reason is None:
            return reply({"ready": True})
        return reply({"ready": False, "message": reason}, HTTPStatus.SERVICE_UNAVAILABLE)

    async def stats(self, request: web.Request) -> web.Response:
        return reply(read(self._seat.segment, self._seat.slots, self._seat.config))

    async def config(self, request: web.Request) -> web.Response:
        return reply(to_plain(self._seat.config))


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as the workers answer them: status, reason and a sentence."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as refusal:
        allowed = ", ".join(sorted(refusal.allowed_methods))
        return error(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.path} can only be asked with {allowed}", Allow=allowed)
    except web.HTTPNotFound:
        paths = ", ".join(sorted({route.resource.canonical for route in request.app.router.routes() if route.resource}))
        return error(HTTPStatus.NOT_FOUND, f"there is no {request.path} here, only {paths}")
    except web.HTTPException as refusal:
        return error(HTTPStatus(refusal.status), refusal.reason)
    except Exception:
        logger.exception("%s %s failed", request.method, request.path)
        return error(HTTPStatus.INTERNAL_SERVER_ERROR, "the controller failed to answer; its log says why")


def error(status: HTTPStatus, message: str, **headers: str) -> web.Response:
    reason = status.phrase.lower().replace(" ", "_")
    return reply({"status": status.value, "reason": reason, "message": message}, status, headers)


def reply(content: Any, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None) -> web.Response:
    """`content` as JSON that nobody may keep: it is true only now."""
    return web.Response(
        body=msgspec.json.encode(content) + b"\n",
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
