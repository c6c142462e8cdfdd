"""Everything that can go wrong with an exchange, as data: whose fault, which status, which words.

The idea of one table (kind, side, status, flag) instead of exceptions is that nothing on the data path has to be
raised, and that a reply, a log line and a metric always say the same.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Side = Literal["downstream", "upstream", "us"]


class FaultFacts(NamedTuple):
    """What is known of one fault.

    `name` is the word in the reason header, in logs and in metrics.  `status` is the answer that the client gets
    while no byte of a response has gone out; 0 means that nobody is left to answer.  `closes` says that the client's
    connection cannot be used again, because where the next request begins is in doubt.
    """

    name: str
    side: Side
    status: int
    closes: bool
    sentence: str


def _client(name: str, status: int, sentence: str) -> FaultFacts:
    return FaultFacts(name, "downstream", status, True, sentence)


def _us(name: str, status: int, sentence: str) -> FaultFacts:
    return FaultFacts(name, "us", status, False, sentence)


def _upstream(name: str, status: int, sentence: str) -> FaultFacts:
    return FaultFacts(name, "upstream", status, False, sentence)


# By number: the order is that of `Fault` in faults.pxd.
FAULTS: tuple[FaultFacts, ...] = (
    FaultFacts("internal_error", "us", 500, True, "the proxy failed while it served this request; its log says why"),
    _us("ok", 0, "nothing went wrong"),
    _us("need_more", 0, "the head is not complete yet"),
    _client("bad_request_line", 400, "the request line is not METHOD SP TARGET SP HTTP/1.1"),
    _client("bad_target", 400, "the request target is not allowed for this method or holds a byte that is not allowed"),
    _client("bad_version", 505, "the HTTP version is not 1.0 or 1.1"),
    _client("bad_field", 400, "a header field has a name or a value that is not allowed"),
    _client("bad_line_end", 400, "a line of the head does not end with CR LF, or is folded"),
    _client("bad_host", 400, "the Host field is missing, double, malformed, or not that of the target"),
    _client("bad_length", 400, "Content-Length is not one decimal number"),
    _client("bad_coding", 400, "Transfer-Encoding is not allowed here or does not end with chunked"),
    _client("ambiguous_length", 400, "both Content-Length and Transfer-Encoding stand in the head"),
    _client("bad_chunk", 400, "the chunked body is malformed"),
    _client("bad_trailer", 400, "a trailer field is malformed, or the trailers are too large"),
    _client("head_too_large", 431, "the head has more bytes or more fields than this listener allows"),
    _client("target_too_long", 414, "the request target is longer than this listener allows"),
    _client("body_too_large", 413, "the body is larger than this listener allows"),
    _client("head_timeout", 408, "the request head did not arrive in time"),
    _client("body_timeout", 408, "the request body did not arrive in time"),
    _client("unsupported_coding", 501, "a transfer coding other than chunked is not supported"),
    _client("connect_refused", 405, "CONNECT is not allowed here"),
    _client("client_gone", 0, "the client went away before the response was complete"),
    _us("no_route", 404, "no route matches this request"),
    _us("rate_limited", 429, "the rate limit of this route is reached"),
    _us("overflow", 503, "as many requests as allowed are being served"),
    _us("no_endpoint", 503, "no endpoint can take the request"),
    _upstream("connect_failed", 502, "the connection to the endpoint was refused or failed"),
    _upstream("connect_timeout", 504, "the endpoint did not accept the connection in time"),
    _upstream("upstream_gone", 502, "the endpoint closed the connection before it answered"),
    _upstream("bad_response", 502, "the endpoint's answer is not valid HTTP/1.1"),
    _upstream("response_timeout", 504, "the endpoint did not answer in time"),
    _upstream("response_cut", 0, "the endpoint closed the connection in the middle of its answer"),
    _upstream("response_stalled", 0, "the response stood still for too long"),
    _us("drain_cut", 503, "the exchange was still running when the drain's time was up"),
    _client("truncated_request", 0, "the client closed the connection in the middle of its request"),
    _upstream("stale_connection", 502, "the endpoint closed the idle connection just as the request was sent"),
    _client("bad_proxy_header", 400, "the connection does not begin with a valid PROXY protocol header"),
    _client("too_many_from_address", 429, "this client address has as many connections as allowed"),
    _us("queue_timeout", 503, "no place became free in time"),
    _us("shed", 503, "what the endpoints can bear is kept for requests of a higher class"),
    _us("no_resources", 503, "the proxy has no descriptor, local port or memory left for this request"),
)

NAMES: tuple[str, ...] = tuple(facts.name for facts in FAULTS)
