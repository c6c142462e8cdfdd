"""Who may change something: nobody through somebody else's browser.

The admin interface has no login; what protects it is that only this machine reaches it. But a browser on this machine
reaches it too, and any page from anywhere may let it send a POST there without asking (a form, or `fetch` without
reading the answer): cross-site request forgery. Browsers say in `Origin` where the page of a POST is from, and no page
can change that. So a POST with an `Origin` other than the address it was sent to is refused. Commands and scripts send
none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def only_from_here(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.method not in ("GET", "HEAD") and is_from_elsewhere(
        request.headers.getall("Origin", []), request.headers.get("Host")
    ):
        raise web.HTTPForbidden(reason="a page from elsewhere may change nothing here")
    return await handler(request)


def is_from_elsewhere(origins: list[str], host: str | None) -> bool:
    """Whether one of `origins` is not the address in `Host`; `null`, and what is no URL, is elsewhere."""
    return any(not _host(origin) or _host(origin) != (host or "").lower() for origin in origins)


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
