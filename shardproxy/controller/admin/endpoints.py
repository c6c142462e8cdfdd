"""Endpoints at run time:

GET    /clusters/NAME/endpoints                    what they are, and how they are
POST   /clusters/NAME/endpoints                    add one: {"address": "10.0.0.7:8080", "weight": 2}, keys as in a file
PATCH  /clusters/NAME/endpoints/ADDRESS            change some keys of one: {"weight": 5}
POST   /clusters/NAME/endpoints/ADDRESS/drain      give it no new requests; {"drain": false} as `undrain`
POST   /clusters/NAME/endpoints/ADDRESS/undrain    give it requests again
DELETE /clusters/NAME/endpoints/ADDRESS            remove it; requests under way finish

A change is answered when all workers serve it: 200.  400: what was sent is wrong; 404: no such cluster or endpoint;
409: it cannot be done, and why; 503 and 504 as for other changes.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web
from msgspec.structs import replace

from shardproxy.config.fragments import Wrong, read_endpoint, with_keys
from shardproxy.config.plain import plain_group
from shardproxy.config.schema import Cluster, Endpoint
from shardproxy.config.shapes import group_of
from shardproxy.config.units import parse_address
from shardproxy.controller.admin.reply import ask_again, error, reply
from shardproxy.controller.discovery.changes import Changes, Clash, Edit, Endpoints, Refused, Unknown
from shardproxy.controller.view import View
from shardproxy.controller.wishes import NotNow

MOST_BYTES = 64 * 1024


def add_endpoints(admin: web.Application, view: View, changes: Changes) -> None:
    """The paths above."""
    answers = EndpointAnswers(view, changes)
    path = "/clusters/{cluster}/endpoints"
    admin.router.add_get(path, answers.show)
    admin.router.add_post(path, answers.add)
    # The address of a Unix socket has slashes.
    admin.router.add_post(path + "/{address:.+}/{verb:drain|undrain}", answers.drain)
    admin.router.add_patch(path + "/{address:.+}", answers.patch)
    admin.router.add_delete(path + "/{address:.+}", answers.remove)


class EndpointAnswers:
    """One method a path."""

    def __init__(self, view: View, changes: Changes) -> None:
        self._view = view
        self._changes = changes

    async def show(self, request: web.Request) -> web.Response:
        try:
            cluster = self._changes.cluster(request.match_info["cluster"])
        except Unknown as refusal:
            return error(HTTPStatus.NOT_FOUND, str(refusal))
        return reply(self._shown(cluster))

    async def add(self, request: web.Request) -> web.Response:
        async def make() -> Edit:
            self._see_that_it_is_ours(request)
            endpoint = read_endpoint(await _text(request))
            return lambda present: (*present, endpoint)

        return await self._answer(request, make)

    async def patch(self, request: web.Request) -> web.Response:
        async def make() -> Edit:
            self._see_that_it_is_ours(request)
            text = await _text(request)
            return _of_one(request, lambda one: with_keys(one, text))

        return await self._answer(request, make)

    async def drain(self, request: web.Request) -> web.Response:
        async def make() -> Edit:
            is_draining = await _is_draining(request)
            return _of_one(request, lambda one: replace(one, drain=is_draining))

        return await self._answer(request, make)

    async def remove(self, request: web.Request) -> web.Response:
        async def make() -> Edit:
            self._see_that_it_is_ours(request)
            return _of_one(request, lambda one: None)

        return await self._answer(request, make)

    async def _answer(self, request: web.Request, make: Any) -> web.Response:
        name = request.match_info["cluster"]
        try:
            await self._changes.change(name, await make())
            return reply({"done": True, **self._shown(self._changes.cluster(name))})
        except (Wrong, Refused) as refusal:
            return error(_STATUS.get(type(refusal), HTTPStatus.BAD_REQUEST), str(refusal))
        except NotNow as refusal:
            return ask_again(str(refusal))
        except TimeoutError:
            return error(HTTPStatus.GATEWAY_TIMEOUT, "the supervisor has not answered; its log says what it is doing")

    def _see_that_it_is_ours(self, request: web.Request) -> None:
        """What a source says would be undone by its next word."""
        cluster = self._changes.cluster(request.match_info["cluster"])
        source = cluster.endpoints_file or (cluster.dns and cluster.dns.name)
        if source:
            raise Clash(f"the endpoints of cluster {cluster.name} come from {source}; change them there, or drain one")

    def _shown(self, cluster: Cluster) -> dict[str, Any]:
        stats = self._view.stats().clusters[cluster.name].endpoints
        group = group_of(Endpoint)
        shown = [
            {**plain_group(each, group), "stats": msgspec.to_builtins(stats[str(each.address)])}
            for each in cluster.endpoints
        ]
        return {"cluster": cluster.name, "version": self._view.version, "endpoints": shown}


_STATUS: dict[type[Exception], HTTPStatus] = {Unknown: HTTPStatus.NOT_FOUND, Clash: HTTPStatus.CONFLICT}


def _of_one(request: web.Request, edit: Any) -> Edit:
    """An edit of the endpoint that the path names; one that becomes None is removed."""
    cluster, text = request.match_info["cluster"], request.match_info["address"]
    try:
        address = parse_address(text)
    except ValueError as problem:
        raise Wrong(str(problem)) from None

    def edited(present: Endpoints) -> Endpoints:
        if all(each.address != address for each in present):
            raise Unknown(f"cluster {cluster} has no endpoint {address}")
        after = (edit(each) if each.address == address else each for each in present)
        return tuple(each for each in after if each is not None)

    return edited


async def _is_draining(request: web.Request) -> bool:
    """As the path says, unless the body says otherwise."""
    text = await _text(request)
    is_draining = request.match_info["verb"] == "drain"
    if not text.strip():
        return is_draining
    return with_keys(Endpoint(address=parse_address("127.0.0.1:1"), drain=is_draining), text).drain


async def _text(request: web.Request) -> str:
    data = await request.content.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise Wrong(f"that is more than {MOST_BYTES >> 10} KiB")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Wrong("that is not UTF-8") from None
