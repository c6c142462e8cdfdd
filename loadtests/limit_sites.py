"""One limit over four workers, in each program's own words; what is admitted the program itself answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from loadtests.configurations import Site, _nginx_http, _nginx_main, _socket, _typed
from loadtests.proxies import ENVOY, NGINX, SHARDPROXY, Proxy


@dataclass(frozen=True)
class LimitSite:
    """`rate` a second, `burst` at once; `/ready` is not limited."""

    site: Site
    rate: int
    burst: int


def shardproxy(limit: LimitSite) -> str:
    site = limit.site
    return f"""
workers: {site.workers}
admin: {{bind: "127.0.0.1:{site.admin_port}"}}
drain_timeout: 1s
log: {{level: error}}
listeners:
  - bind: 127.0.0.1:{site.port}
    routes:
      - {{match: {{path: /ready}}, response: {{status: 200, body: ok}}}}
      - {{match: {{prefix: /}}, response: {{status: 200, body: ok}}, rate_limits: [all]}}
clusters:
  - {{name: nobody, endpoints: ["127.0.0.1:9"]}}
rate_limits:
  - {{name: all, rate: {limit.rate}/s, burst: {limit.burst}}}
"""


def nginx(limit: LimitSite) -> str:
    """`burst` beyond the first; `return` would answer before the limit is asked, an empty picture does not."""
    site = limit.site
    return f"""{_nginx_main(site.directory, site.workers)}
http {{{_nginx_http(site.directory)}
    limit_req_zone $server_port zone=all:1m rate={limit.rate}r/s;
    limit_req_status 429;
    server {{
        listen 127.0.0.1:{site.port} reuseport backlog=4096;
        location = /ready {{ return 200 "ok"; }}
        location / {{ limit_req zone=all burst={limit.burst - 1} nodelay; empty_gif; }}
    }}
}}
"""


def envoy(limit: LimitSite) -> str:
    """A bucket that is filled in steps of 50 ms or of one token, whichever is longer, for all threads together."""
    step_s = max(0.05, 1 / limit.rate)
    bucket = {
        "max_tokens": limit.burst,
        "tokens_per_fill": round(limit.rate * step_s),
        "fill_interval": f"{step_s:.3f}s",
    }
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}, "runtime_key": "on"}
    limiter = _typed(
        "http.local_ratelimit.v3.LocalRateLimit",
        stat_prefix="all",
        token_bucket=bucket,
        filter_enabled=always,
        filter_enforced=always,
    )
    off = _typed("http.local_ratelimit.v3.LocalRateLimit", stat_prefix="none", token_bucket=bucket)
    answer = {"status": 200, "body": {"inline_string": "ok"}}
    routes: list[dict[str, Any]] = [
        {
            "match": {"path": "/ready"},
            "direct_response": answer,
            "typed_per_filter_config": {"envoy.filters.http.local_ratelimit": off},
        },
        {"match": {"prefix": "/"}, "direct_response": answer},
    ]
    manager = _typed(
        "network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="web",
        codec_type="HTTP1",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        http_filters=[
            {"name": "envoy.filters.http.local_ratelimit", "typed_config": limiter},
            {"name": "envoy.filters.http.router", "typed_config": _typed("http.router.v3.Router")},
        ],
    )
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    listener = {"name": "web", "address": _socket(limit.site.port), "filter_chains": [chain]}
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": []}}, indent=1)


def _written(proxy: Proxy, write: Callable[[LimitSite], str]) -> Callable[[LimitSite], Proxy]:
    name = next(iter(proxy.files))
    return lambda limit: replace(proxy, files={name: lambda _site: write(limit)})


FOUR_THREADS = replace(ENVOY, arguments=tuple("4" if part == "1" else part for part in ENVOY.arguments))
PROXIES: dict[str, Callable[[LimitSite], Proxy]] = {
    "shardproxy": _written(SHARDPROXY, shardproxy),
    "nginx": _written(NGINX, nginx),
    "envoy": _written(FOUR_THREADS, envoy),
}
