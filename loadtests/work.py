"""The works a proxy is put to, and wrk, which puts it to them and counts."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.configurations import BODY_1K_BYTES, BODY_1M_BYTES, POST_BYTES, Kind
from loadtests.processes import fetch

EVERYTHING = ("/",)
ROUTES_SEED = 20  # a fixed seed: every run has the same routes in the same random order
WRK_GRACE_S = 15.0


def random_routes(count: int) -> tuple[str, ...]:
    """`count` distinct prefixes in random order, such as `/r0417/`; none is a prefix of another."""
    routes = [f"/r{number:04d}/" for number in range(count)]
    random.Random(ROUTES_SEED).shuffle(routes)
    return tuple(routes)


@dataclass(frozen=True)
class Work:
    """One kind of traffic.

    `routes`: the prefixes the proxies are configured with. `path` is requested and must be answered with 200 and
    `length` bytes. `script` is Lua for wrk beyond a plain GET of `path`. `headers` are wrk's `-H`. `origins` is how
    many endpoints the proxies balance over, `kind` what else the site has. `frame_bytes`: of WebSocket frames that the
    origin sends back, instead of requests.
    """

    name: str
    path: str
    length: int
    meaning: str
    routes: tuple[str, ...] = EVERYTHING
    method: str = "GET"
    body: bytes | None = None
    script: str = ""
    headers: tuple[str, ...] = field(default=())
    origins: int = 2
    kind: Kind = "plain"
    frame_bytes: int = 0

    @property
    def setup(self) -> tuple[tuple[str, ...], int, Kind]:
        """Works with the same can share their running proxies."""
        return self.routes, self.origins, self.kind

    def fault(self, port: int) -> str | None:
        """Try one request against `port`: None when it is answered as it must be, else a plain sentence."""
        try:
            status, length = fetch(port, self.path, self.method, self.body)
        except OSError as error:
            return f"no answer to {self.method} {self.path}: {error}"
        if (status, length) == (200, self.length):
            return None
        return f"{self.method} {self.path} gave {status} with {length} bytes instead of 200 with {self.length}"


def _spread(routes: tuple[str, ...]) -> str:
    """Lua that requests each route in turn, in another order than they are configured in."""
    visits = random.Random(ROUTES_SEED + 1).sample(routes, len(routes))
    paths = ",".join(f'"{prefix}item"' for prefix in visits)
    return f"""
local paths, requests, turn = {{{paths}}}, {{}}, 0
function init(args)
  for i, path in ipairs(paths) do requests[i] = wrk.format("GET", path) end
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
"""


_THOUSAND, _TEN_THOUSAND = random_routes(1000), random_routes(10_000)
_FIELDS = tuple(f"X-Field-{number:02d}: {number:02d} of some length, as such fields have" for number in range(60))
_CHUNK = "x" * 4096
_CHUNKED = f"""
local chunk = "1000\\r\\n" .. string.rep("x", {len(_CHUNK)}) .. "\\r\\n"
local whole = "POST /chunked HTTP/1.1\\r\\nHost: load.test\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n"
  .. string.rep(chunk, {POST_BYTES // len(_CHUNK)}) .. "0\\r\\n\\r\\n"
function request() return whole end
"""

WORKS: tuple[Work, ...] = (
    Work("get-1k", "/1k", BODY_1K_BYTES, "GET of 1 KiB, keep-alive: the cost of a request as such"),
    Work("get-1m", "/1m", BODY_1M_BYTES, "GET of 1 MiB, keep-alive: the cost of moving bytes"),
    Work(
        "new-connection",
        "/1k",
        BODY_1K_BYTES,
        "GET of 1 KiB with Connection: close: accept and close for each request",
        headers=("Connection: close",),
    ),
    Work(
        "post-16k",
        "/post",
        len(b"stored\n"),
        "POST of 16 KiB, small answer: the way of a request body",
        method="POST",
        body=b"x" * POST_BYTES,
        script=f'wrk.method = "POST"\nwrk.body = string.rep("x", {POST_BYTES})\n',
    ),
    Work("head-64", "/1k", BODY_1K_BYTES, "GET of 1 KiB with 64 fields: the cost of a head", headers=_FIELDS),
    Work(
        "chunked",
        "/chunked",
        BODY_1K_BYTES,
        "POST of 16 KiB in four chunks, an answer of 1 KiB in chunks",
        method="POST",
        body=b"x" * POST_BYTES,
        script=_CHUNKED,
    ),
    Work(
        "routes-1000",
        f"{_THOUSAND[-1]}item",
        BODY_1K_BYTES,
        "GET of 1 KiB over 1 000 prefix routes: the cost of finding a route",
        routes=_THOUSAND,
        script=_spread(_THOUSAND),
    ),
    Work(
        "routes-10000",
        f"{_TEN_THOUSAND[-1]}item",
        BODY_1K_BYTES,
        "the same over 10 000",
        routes=_TEN_THOUSAND,
        script=_spread(_TEN_THOUSAND),
    ),
    Work("full", "/1k", BODY_1K_BYTES, "GET of 1 KiB with JSON access log, rate limit and request id", kind="full"),
    Work("websocket-64", "/", BODY_1K_BYTES, "WebSocket frames of 64 bytes, echoed", kind="websocket", frame_bytes=64),
    Work("websocket-64k", "/", BODY_1K_BYTES, "the same of 64 KiB", kind="websocket", frame_bytes=64 * 1024),
    Work("endpoints-100", "/1k", BODY_1K_BYTES, "GET of 1 KiB over 100 endpoints: the cost of a pick", origins=100),
)

# wrk calls done() once at the end; its own text rounds, so the exact numbers are written as JSON on one line.
_SUMMARY_MARK = "SUMMARY "
_DONE = """
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\nSUMMARY {"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"max_us":%d,'
    .. '"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    e.connect, e.read, e.write, e.timeout, e.status))
end
"""


@dataclass(frozen=True)
class Load:
    """How hard wrk pulls: for `seconds`, over `connections`, from CPU `core`."""

    seconds: int
    connections: int
    core: int


@dataclass(frozen=True)
class Outcome:
    """What wrk saw. `refused` are answers with a status from 400; the socket errors are counted apart."""

    requests: int
    seconds: float
    p50_us: int
    p99_us: int
    refused: int
    socket_errors: int

    @property
    def errors(self) -> int:
        return self.refused + self.socket_errors


class WrkFailed(Exception):
    """wrk could not run or said nothing usable; the text is its last line."""


def wrk_script(work: Work) -> str:
    """The whole Lua script for a work."""
    return work.script + _DONE


def wrk_command(binary: str, work: Work, port: int, load: Load, script: Path) -> list[str]:
    headers = [part for header in work.headers for part in ("-H", header)]
    pinned = ["taskset", "-c", str(load.core), binary]
    pull = ["-t1", f"-c{load.connections}", f"-d{load.seconds}s", "--timeout", "10s", "-s", str(script)]
    return [*pinned, *pull, *headers, f"http://127.0.0.1:{port}{work.path}"]


def parse_summary(output: str) -> Outcome:
    """The outcome in wrk's output; WrkFailed when it has no summary."""
    for line in output.splitlines():
        if line.startswith(_SUMMARY_MARK):
            said = json.loads(line.removeprefix(_SUMMARY_MARK))
            sockets = sum(said[kind] for kind in ("connect", "read", "write", "timeout"))
            seconds = said["duration_us"] / 1e6
            return Outcome(said["requests"], seconds, said["p50_us"], said["p99_us"], said["status"], sockets)
    raise WrkFailed(output.strip().splitlines()[-1] if output.strip() else "wrk wrote nothing")


def wrk_runner(binary: str, directory: Path) -> Callable[[Work, int, Load], Outcome]:
    """A function that runs wrk for a work against a port. Its scripts are written into `directory`."""

    def run(work: Work, port: int, load: Load) -> Outcome:
        script = directory / f"{work.name}.lua"
        script.write_text(wrk_script(work))
        command = wrk_command(binary, work, port, load, script)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=load.seconds + WRK_GRACE_S)
        except subprocess.TimeoutExpired as error:
            raise WrkFailed(f"wrk did not end within {error.timeout:.0f} s") from error
        return parse_summary(done.stdout if done.returncode == 0 else done.stderr)

    return run
