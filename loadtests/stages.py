"""The stages of a request, and to which of them a moment of the processor belongs.

A sample is a stack, from where the processor was to where the thread began. It belongs to the stage of the first
function from there that `RULES` know: what the C library, CPython, uvloop or the kernel does is the stage's that asked
for it. On which side of the proxy a function works is told by who has got the bytes: `Downstream.received` from the
client, `Upstream.received` from the endpoint.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

OTHER = "other"
CLIENT, ENDPOINT = "Downstream.received", "Upstream.received"

_CYTHON = re.compile(r"^__pyx_(?:pw|pf|f|gb|tp_\w+?|getprop|setprop)_")
_CLONE = re.compile(r"\.(?:part|isra|constprop|cold|lto_priv)\b.*$")


@dataclass(frozen=True)
class Rule:
    """Functions whose name begins as `pattern` says belong to a stage: `from_client` where the client's bytes are dealt
    with and where nobody's are, `from_endpoint` where the endpoint's are."""

    pattern: re.Pattern[str]
    from_client: str
    from_endpoint: str


def _rule(stage: str, pattern: str, from_endpoint: str | None = None) -> Rule:
    return Rule(re.compile(pattern), stage, from_endpoint or stage)


MEANINGS: Mapping[str, str] = {
    "accept": "a connection is accepted and made known",
    "read": "bytes from a socket, and the object that holds them",
    "head": "the request's head is scanned and framed",
    "route": "host and path to route",
    "filters, limits": "what routes may have besides: actions, limits, retries, queues",
    "pick": "an endpoint is chosen, a connection to it taken",
    "request onward": "the head for the endpoint is written into the buffer",
    "write to endpoint": "from the buffer into the socket",
    "response head": "the response's head is scanned and framed",
    "response onward": "the head for the client is written into the buffer",
    "write to client": "from the buffer into the socket",
    "relay": "bodies, both ways",
    "log, numbers": "the end of the exchange: counters, histograms, ends released",
    "exchange": "what holds these stages together, timers",
    "close": "a connection is closed and forgotten",
    "loop": "waiting for the next event, and handing it out",
    OTHER: "nothing of these, or the stack could not be followed",
}

_P = r"shardproxy\.proxy\."
_UV = r"uvloop\.loop\."
RULES: Sequence[Rule] = (
    _rule("head", r"shardproxy\.http1\.(head|fields|authority|framing\.frame_)", "response head"),
    _rule("route", rf"shardproxy\.routing\.|{_P}finding"),
    _rule("filters, limits", r"shardproxy\.(limits|filters|shm\.(keyed|buckets|addresses))"),
    _rule("filters, limits", rf"{_P}(admission|actions|edits|hedging|retries|queue|mirror|priority|hashing)"),
    _rule("pick", rf"shardproxy\.balancing\.|{_P}pool|{_P}exchange\.Exchange\.(pick|choose_origin)"),
    _rule("request onward", rf"shardproxy\.http1\.(splice\.splice_request|forwarding)|{_P}introduction"),
    _rule("response onward", r"shardproxy\.http1\.splice\.splice_response"),
    _rule("write to endpoint", rf"{_P}connection\.Connection\.(put_scratch|flush|finish)$", "write to client"),
    _rule("write to endpoint", rf"{_UV}UVStream\.\w*write|uv__(try_)?write|uv_try_write", "write to client"),
    _rule("relay", rf"shardproxy\.http1\.framing|{_P}\w+\.\w+\.(send_body|read_body|put)$"),
    _rule("relay", rf"{_P}exchange\.Exchange\.(request_body|response_body)"),
    _rule("close", rf"{_P}\w+\.\w+\.(connection_lost|close|abort|linger)$"),
    _rule("close", r"uv_close|uv__finish_close|uv__stream_destroy"),
    _rule("close", rf"{_UV}(__uv_close|\w+\.(_close|close|_call_connection_lost|_schedule_call_connection_lost)$)"),
    _rule("log, numbers", rf"{_P}exchange\.Exchange\.(finish|account)|{_P}\w+\.\w+\.release|shardproxy\.observe"),
    _rule("accept", rf"{_P}(client|downstream)\.\w+\.(connection_made|begin)$|uv__server_io|uv_accept"),
    _rule("accept", rf"{_UV}(__uv_streamserver|UVStreamServer|TCPServer|TCPTransport|Loop\._track_transport)"),
    _rule("accept", rf"{_UV}UVBaseTransport\._call_connection_made"),
    _rule("accept", rf"{_P}listening|{_P}streams\.(adopt|Stream\.attach)"),
    _rule("close", rf"{_P}streams\.Stream\.(end|lose|break_off)|{_P}watching\.Watch\.(let_go|part_with)"),
    _rule("write to endpoint", rf"{_P}streams\.Stream\.(send|drain|write|hold)", "write to client"),
    _rule("read", rf"{_P}streams\.Stream\.(ready|take)"),
    _rule("loop", rf"{_P}watching"),
    _rule("exchange", _P),
    _rule("read", rf"uv__read|{_UV}(__uv_stream_on_read|__loop_alloc)"),
    _rule("loop", rf"uv_run|uv__(io_poll|run_|epoll)|{_UV}(Loop|Handle|TimerHandle)\.|_PyRun_"),
)


def plain(symbol: str) -> str:
    """A symbol as its author wrote it: `package.module.Class.method` if Cython made it, without the compiler's marks.

    Cython writes each part of a name with its length before it; before a Python method's own name stands its number.
    """
    symbol = _CLONE.sub("", symbol)
    mark = _CYTHON.match(symbol)
    if mark is None:
        return symbol
    rest, parts = symbol[mark.end() :], list[str]()
    while (digits := re.match(r"\d+", rest)) is not None:
        name, end = rest[digits.end() :], int(digits[0])
        if name[end : end + 1] != "_":
            return ".".join([*parts, name])
        parts.append(name[:end])
        rest = name[end + 1 :]
    return ".".join([*parts, rest])


def stage_of(stack: Sequence[str]) -> str:
    """The stage of a sample; `stack` are plain names from where the processor was on.

    Cost: each name against each rule until one holds; callers should ask once for equal stacks."""
    came_from = next((name for name in reversed(stack) if name.endswith((CLIENT, ENDPOINT))), CLIENT)
    for name in stack:
        for rule in RULES:
            if rule.pattern.match(name):
                return rule.from_endpoint if came_from.endswith(ENDPOINT) else rule.from_client
    return OTHER


@dataclass(frozen=True)
class Taken:
    """One sample: its stack of plain names, and whether the kernel was at work."""

    stack: tuple[str, ...]
    in_kernel: bool


def shares(samples: Iterable[Taken]) -> dict[str, tuple[float, float]]:
    """For each stage the share of all samples in user space and in the kernel, in the order of MEANINGS."""
    alike = Counter(samples)
    found: Counter[tuple[str, bool]] = Counter()
    for sample, count in alike.items():
        found[stage_of(sample.stack), sample.in_kernel] += count
    total = alike.total() or 1
    return {stage: (found[stage, False] / total, found[stage, True] / total) for stage in MEANINGS}
