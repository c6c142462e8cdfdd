"""The demo from start to end: origins in this process, the proxy in its own, traffic, and a line a second.

Whatever ends it (Ctrl-C, SIGTERM, its time, an error), everything that it has started is ended before it returns.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import uvloop

from shardproxy.controller.admin.ask import NoAnswer, ask_stats
from shardproxy.controller.stats import Stats
from shardproxy.demo import origins
from shardproxy.demo.configuration import configuration
from shardproxy.demo.origins import HOST, Origin
from shardproxy.demo.proxy import Proxy
from shardproxy.demo.screen import Screen, introduction
from shardproxy.demo.traffic import Traffic

FAST_S = 0.005
ORIGINS = (Origin("fast-1", FAST_S), Origin("fast-2", FAST_S), Origin("slow", 10 * FAST_S))
STOPPING = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
SECOND = 1.0

OK, FAILED = 0, 1


@dataclass(frozen=True)
class Options:
    """What can be chosen. `seconds`: None for until Ctrl-C."""

    port: int
    admin_port: int
    workers: int
    seconds: int | None
    has_traffic: bool


class DemoFailed(Exception):
    """The demo cannot go on; `str()` is a plain sentence."""


def run_demo(options: Options) -> int:
    """Show it until it is stopped; returns the exit code."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_demo(options))
        except DemoFailed as reason:
            print(reason, file=sys.stderr)
            return FAILED
        except BrokenPipeError:
            raise  # nobody reads what we print; the command line knows what to do then
        except OSError as error:
            print(f"the demo cannot go on: {error.strerror or error}", file=sys.stderr)
            return FAILED
    return OK


async def _demo(options: Options) -> None:
    _check_free(options.port, "--port")
    _check_free(options.admin_port, "--admin-port")
    stop = _stop_event()
    async with AsyncExitStack() as stack:
        names = await _start_origins(stack)
        proxy = await _start_proxy(options, list(names), stack)
        if await proxy.wait_until_ready(stop):
            _say(introduction(options.port, proxy.admin, names))
            await Show(options, proxy, Screen(names), stop).run()
        elif not stop.is_set():
            raise DemoFailed(_why_not_ready(proxy))


class Show:
    """The time in which there is something to see."""

    def __init__(self, options: Options, proxy: Proxy, screen: Screen, stop: asyncio.Event) -> None:
        self._options = options
        self._proxy = proxy
        self._screen = screen
        self._stop = asyncio.create_task(stop.wait())
        self._traffic = Traffic(f"http://{HOST}:{options.port}")
        self._begin = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Until it is stopped; raises `DemoFailed` when the proxy ends before."""
        async with AsyncExitStack() as stack:
            if self._options.has_traffic:
                await stack.enter_async_context(self._traffic.running())
            while not await self._is_over():
                stats = await self._stats()
                _say(self._screen.line(stats, self._elapsed_s()) if stats else "the admin interface does not answer")
        if stats := await self._stats():
            _say(self._screen.summary(stats, self._traffic, self._elapsed_s()))

    async def _is_over(self) -> bool:
        """Wait until the next line is due, or until it is over."""
        left = self._left_s()
        await asyncio.wait([self._stop, self._proxy.ended], timeout=min(SECOND, left), return_when="FIRST_COMPLETED")
        if self._proxy.ended.done():
            raise DemoFailed(f"the proxy ended with exit code {self._proxy.exit_code}; what it said stands above")
        return self._stop.done() or left <= SECOND

    async def _stats(self) -> Stats | None:
        try:
            return await asyncio.to_thread(ask_stats, self._proxy.admin)
        except NoAnswer:
            return None

    def _left_s(self) -> float:
        seconds = self._options.seconds
        return float("inf") if seconds is None else max(0.0, seconds - self._elapsed_s())

    def _elapsed_s(self) -> float:
        return asyncio.get_running_loop().time() - self._begin


async def _start_origins(stack: AsyncExitStack) -> dict[str, str]:
    """Their names by address."""
    names = {}
    for origin in ORIGINS:
        server = await origins.start(origin)
        stack.callback(server.close)
        names[origins.address(server)] = origin.name
    return names


async def _start_proxy(options: Options, endpoints: list[str], stack: AsyncExitStack) -> Proxy:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shardproxy-demo-")))
    file = directory / "demo.yaml"
    file.write_text(configuration(options.port, options.admin_port, options.workers, endpoints))
    proxy = await Proxy.start(file, f"http://{HOST}:{options.admin_port}")
    stack.push_async_callback(proxy.end)
    return proxy


def _stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    for each in STOPPING:
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    return stop


def _why_not_ready(proxy: Proxy) -> str:
    if proxy.ended.done():
        return f"the proxy did not start (exit code {proxy.exit_code}); what it said stands above"
    return "the proxy was not ready in time"


def _check_free(port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            reason = error.strerror.lower() if error.strerror else "unknown error"
            raise DemoFailed(f"port {port} cannot be used ({reason}); choose another with {option}") from None


def _say(text: str) -> None:
    print(text, flush=True)
