"""What can be asked of the admin interface:

GET /live    200 as long as the controller runs
GET /ready   200 when every worker serves, else 503 and why
GET /stats   all numbers, summed over the workers: see `controller.stats`
GET /config  the running configuration

GET /clusters/NAME/endpoints, and how to change them: see `controller.admin.endpoints`

POST /reload, /restart, /drain, /scale?workers=N    as the commands of these names: 200 when it is done, 409 and the
                                                    reason when it is not, 503 and Retry-After when it can
                                                    only be done later,
                                                    504 when there was no answer for two minutes
"""

from __future__ import annotations

import logging
from http import HTTPStatus

from aiohttp import web

from shardproxy.config.plain import to_plain
from shardproxy.control.messages import Wish
from shardproxy.controller.admin.endpoints import add_endpoints
from shardproxy.controller.admin.guard import Handler, only_from_here
from shardproxy.controller.admin.reply import ask_again, error, reply
from shardproxy.controller.discovery.changes import Changes as EndpointChanges
from shardproxy.controller.view import View
from shardproxy.controller.wishes import NotNow, Wishes

logger = logging.getLogger(__name__)

MOST_WORKERS = 512  # as `workers` in the file


def application(view: View, wishes: Wishes, endpoints: EndpointChanges) -> web.Application:
    """The admin interface of the proxy that `view` shows."""
    admin = web.Application(middlewares=[errors_as_json, only_from_here])
    answers = Answers(view)
    admin.router.add_get("/live", answers.live)
    admin.router.add_get("/ready", answers.ready)
    admin.router.add_get("/stats", answers.stats)
    admin.router.add_get("/config", answers.config)
    changes = Changes(wishes)
    admin.router.add_post("/reload", changes.reload)
    admin.router.add_post("/restart", changes.restart)
    admin.router.add_post("/drain", changes.drain)
    admin.router.add_post("/scale", changes.scale)
    add_endpoints(admin, view, endpoints)
    return admin


class Answers:
    """What can be looked at; one method a path."""

    def __init__(self, view: View) -> None:
        self._view = view

    async def live(self, request: web.Request) -> web.Response:
        return reply({"live": True})

    async def ready(self, request: web.Request) -> web.Response:
        reason = self._view.why_not_ready()
        if reason is None:
            return reply({"ready": True})
        return reply({"ready": False, "message": reason}, HTTPStatus.SERVICE_UNAVAILABLE)

    async def stats(self, request: web.Request) -> web.Response:
        return reply(self._view.stats())

    async def config(self, request: web.Request) -> web.Response:
        return reply(to_plain(self._view.config))


class Changes:
    """What can be asked for; answered when it is done, or has been refused."""

    def __init__(self, wishes: Wishes) -> None:
        self._wishes = wishes

    async def reload(self, request: web.Request) -> web.Response:
        return await self._ask("reload")

    async def restart(self, request: web.Request) -> web.Response:
        return await self._ask("restart")

    async def drain(self, request: web.Request) -> web.Response:
        return await self._ask("drain")

    async def scale(self, request: web.Request) -> web.Response:
        workers = how_many(request.query.getall("workers", []))
        if workers is None:
            return error(HTTPStatus.BAD_REQUEST, f"say how many, 1 to {MOST_WORKERS}: /scale?workers=4")
        return await self._ask("scale", workers)

    async def _ask(self, what: Wish, workers: int | None = None) -> web.Response:
        try:
            answer = await self._wishes.ask(what, workers)
        except NotNow as refusal:
            return ask_again(str(refusal))
        except TimeoutError:
            return error(HTTPStatus.GATEWAY_TIMEOUT, "the supervisor has not answered; its log says what it is doing")
        status = HTTPStatus.OK if answer.is_done else HTTPStatus.CONFLICT
        return reply({"done": answer.is_done, "message": answer.text}, status)


def how_many(values: list[str]) -> int | None:
    """The number of workers that `values` of the query say; None when it is none, too large, or there are two."""
    text = values[0] if len(values) == 1 else ""
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(MOST_WORKERS))
    return int(text) if is_number and 1 <= int(text) <= MOST_WORKERS else None


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
