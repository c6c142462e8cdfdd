"""What a proxy in production has besides: an access log in JSON, a rate limit that is never hit, and a request id.

Each program writes the same facts in the way its makers recommend: nginx, Envoy and shardproxy buffer lines and append
them to a file themselves; HAProxy leaves that to others and writes each line to its standard output, a file here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

RATE = 400_000  # a second: far more than anybody can send here

_NGINX_LINE = (
    '{"time":"$time_iso8601","client":"$remote_addr","method":"$request_method","host":"$host",'
    '"target":"$request_uri","protocol":"$server_protocol","status":$status,"bytes_out":$body_bytes_sent,'
    '"duration_s":$request_time,"upstream_s":"$upstream_response_time","endpoint":"$upstream_addr",'
    '"request_id":"$request_id","referer":"$http_referer","user_agent":"$http_user_agent"}'
)


def nginx_http(directory: Path) -> str:
    return f"""
    log_format full escape=json '{_NGINX_LINE}';
    access_log {directory}/access.log full buffer=64k flush=1s;
    limit_req_zone $server_name zone=never_hit:1m rate={RATE}r/s;
"""


NGINX_SERVER = f"""
        limit_req zone=never_hit burst={RATE} nodelay;
        proxy_set_header X-Request-Id $request_id;
"""

_HAPROXY_LINE = (
    '{"time":"%tr","client":"%ci","method":"%HM","host":"%[capture.req.hdr(0),json(utf8s)]",'
    '"target":"%[capture.req.uri,json(utf8s)]","protocol":"%HV","status":%ST,"bytes_out":%B,"duration_ms":%Ta,'
    '"upstream_ms":%Tr,"cluster":"%b","endpoint":"%s","request_id":"%ID",'
    '"user_agent":"%[capture.req.hdr(1),json(utf8s)]"}'
)
_HAPROXY_QUOTED = _HAPROXY_LINE.replace('"', r"\"")
HAPROXY_FRONTEND = f"""
    log stdout format raw local0
    declare capture request len 64
    http-request capture req.hdr(host) id 0
    declare capture request len 64
    http-request capture req.hdr(user-agent) id 1
    log-format "{_HAPROXY_QUOTED}"
    unique-id-format %[uuid()]
    unique-id-header X-Request-Id
    stick-table type integer size 10 expire 10s store http_req_rate(1s)
    http-request track-sc0 int(1)
    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {RATE} }}
"""

_ENVOY_TYPES = "type.googleapis.com/envoy.extensions"
_ENVOY_LINE = {
    "time": "%START_TIME%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY)%",
    "target": "%REQ(:PATH)%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "duration_ms": "%DURATION%",
    "cluster": "%UPSTREAM_CLUSTER%",
    "endpoint": "%UPSTREAM_HOST%",
    "reason": "%RESPONSE_FLAGS%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "referer": "%REQ(REFERER)%",
    "user_agent": "%REQ(USER-AGENT)%",
}
_ALWAYS = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
ENVOY_FILTERS: list[dict[str, Any]] = [
    {
        "name": "envoy.filters.http.local_ratelimit",
        "typed_config": {
            "@type": f"{_ENVOY_TYPES}.filters.http.local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": "never_hit",
            "token_bucket": {"max_tokens": RATE, "tokens_per_fill": RATE, "fill_interval": "1s"},
            "filter_enabled": _ALWAYS,
            "filter_enforced": _ALWAYS,
        },
    }
]


def envoy_logs(directory: Path) -> list[dict[str, Any]]:
    log = {
        "@type": f"{_ENVOY_TYPES}.access_loggers.file.v3.FileAccessLog",
        "path": f"{directory}/access.log",
        "log_format": {"json_format": _ENVOY_LINE},
    }
    return [{"name": "envoy.access_loggers.file", "typed_config": log}]


def limit_shardproxy(document: dict[str, Any], key: dict[str, str]) -> None:
    document["rate_limits"] = [{"name": "never-hit", "rate": f"{RATE}/s", "burst": RATE, **key}]
    for route in document["listeners"][0]["routes"]:
        route["rate_limits"] = ["never-hit"]


def complete_shardproxy(document: dict[str, Any], directory: Path) -> None:
    limit_shardproxy(document, {})
    document["listeners"][0]["access_log"] = str(directory / "access.log")
