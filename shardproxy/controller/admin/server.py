"""The admin interface on the socket that the supervisor has bound."""

from __future__ import annotations

import asyncio
import socket

from aiohttp import web

from shardproxy.controller.admin.guard import Handler
from shardproxy.controller.admin.routes import application
from shardproxy.controller.discovery.changes import Changes
from shardproxy.controller.view import View
from shardproxy.controller.wishes import Wishes

BACKLOG = 128
KEEP_ALIVE_S = 15.0
GOODBYE_S = 0.5  # what an answer under way gets when the controller leaves


class AdminServer:
    """Answers until it is closed; only inside a running loop."""

    def __init__(self, view: View, wishes: Wishes, endpoints: Changes) -> None:
        admin = application(view, wishes, endpoints)
        admin.middlewares.insert(0, self._end_with_the_answer)
        self._is_leaving = False
        self._runner = web.AppRunner(
            admin,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_S,
            shutdown_timeout=GOODBYE_S,
        )
        self._server: asyncio.AbstractServer | None = None

    async def start(self, listening: socket.socket) -> None:
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        assert self._runner.server is not None
        listening.setblocking(False)
        # aiohttp's own site knows only create_server, and uvloop's refuses a Unix socket.
        if listening.family == socket.AF_UNIX:
            self._server = await loop.create_unix_server(self._runner.server, sock=listening, backlog=BACKLOG)
        else:
            self._server = await loop.create_server(self._runner.server, sock=listening, backlog=BACKLOG)

    def stop_accepting(self) -> None:
        """Close the socket; each connection that is open ends with its next answer."""
        self._is_leaving = True
        if self._server is not None:
            self._server.close()
            self._server = None

    @web.middleware
    async def _end_with_the_answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if self._is_leaving:
            response.force_close()
        return response

    async def close(self) -> None:
        """Take nothing new, and let answers under way finish for a moment."""
        self.stop_accepting()
        await self._runner.cleanup()
