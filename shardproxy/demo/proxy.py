"""The proxy of the demo: `shardproxy run FILE` in a process of its own, the same that a user starts."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

from shardproxy.controller.admin.ask import NoAnswer, ask

READY_WITHIN_S = 15.0
LOOK_S = 0.05
END_WITHIN_S = 5.0  # its drain takes at most 2 s


class Proxy:
    """A running proxy, made by `start`; `end` must be called."""

    def __init__(self, process: asyncio.subprocess.Process, admin: str) -> None:
        self.admin = admin
        self._process = process
        self.ended = asyncio.ensure_future(process.wait())

    def __repr__(self) -> str:
        return f"<Proxy pid {self._process.pid} {'running' if self.exit_code is None else f'exit {self.exit_code}'}>"

    @classmethod
    async def start(cls, file: Path, admin: str) -> Proxy:
        """Run `file`.  In a session of its own, so that a terminal's Ctrl-C reaches only the demo, which ends it."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "shardproxy", "run", str(file)),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        return cls(process, admin)

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.returncode

    async def wait_until_ready(self, given_up: asyncio.Event) -> bool:
        """Whether every worker serves; false when it has ended, `given_up` is set, or it takes too long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READY_WITHIN_S
        while not (self.ended.done() or given_up.is_set() or loop.time() > deadline):
            if await asyncio.to_thread(self._is_ready):
                return True
            await asyncio.sleep(LOOK_S)
        return False

    async def end(self) -> None:
        """Drain it; if it does not end in time, kill it with all its children."""
        if not self.ended.done():
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            await asyncio.wait([self.ended], timeout=END_WITHIN_S)
        if not self.ended.done():
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self.ended

    def _is_ready(self) -> bool:
        try:
            return ask(self.admin, "/ready")[0] == HTTPStatus.OK
        except NoAnswer:
            return False
