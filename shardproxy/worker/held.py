"""What a request keeps of its configuration until it ends, and with it the slots of all that is counted there."""

from __future__ import annotations

from shardproxy.proxy.runtime import ListenerRuntime, RouteRuntime
from shardproxy.shm.held import Held


class HeldRoute(RouteRuntime):
    """A route, which the last request that uses it lets go, and `held` with it."""

    held: Held


class HeldListener(ListenerRuntime):
    """A listener, which the last connection that belongs to it lets go, and `held` with it."""

    held: Held
