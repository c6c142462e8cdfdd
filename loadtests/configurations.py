"""The configuration of each program, all asked for the same service.

One worker, least connection over the origin's ports, keep-alive on both sides, `X-Forwarded-For` added. A site that
`is_full` has an access log in JSON, a rate limit that is never hit, and a request id besides (`full.py`). Where a
program's default would make it look bad for no reason of principle it is tuned in its favour, and the reason stands
beside the line; `nginx_stock` and `haproxy_stock` have the buffers their makers ship instead. Every function is pure: a
Site in, text out.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from loadtests import full

Kind = Literal["plain", "full", "websocket"]

BODY_1K_BYTES = 1024
BODY_1M_BYTES = 1024 * 1024
POST_BYTES = 16 * 1024


@dataclass(frozen=True)
class Site:
    """What a proxy is asked to serve.

    `routes`: path prefixes in the order in which they are configured; `("/",)` sends everything to the origin.
    `directory` is the program's own, for its files and temporary files. `workers` are processes or threads; nginx's
    share their counts only with `zone`.
    """

    port: int
    admin_port: int
    origins: tuple[int, ...]
    routes: tuple[str, ...]
    directory: Path
    workers: int = 1
    zone: bool = False
    kind: Kind = "plain"

    @property
    def is_full(self) -> bool:
        return self.kind == "full"

    @property
    def has_websockets(self) -> bool:
        return self.kind == "websocket"


def _nginx_main(directory: Path, workers: int = 1) -> str:
    user = "user root;" if os.geteuid() == 0 else ""  # else nginx becomes nobody and can't read our directory
    return f"""
{user}
daemon off;
worker_processes {workers};
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 8192; }}
"""


def _nginx_http(directory: Path, log: str = "access_log off;") -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"    {kind}_temp_path {directory}/{kind};" for kind in kinds)
    # Beyond the defaults: never end a keep-alive connection for having served 1 000 requests, and take a request
    # body in one buffer instead of writing it to a temporary file.
    return f"""
    {log}
    keepalive_requests 100000000;
    client_body_buffer_size 64k;
{temporary}
"""


def origin(ports: tuple[int, ...], directory: Path) -> str:
    """The origin: nginx with a 1 KiB and a 1 MiB file, any `/r.../` path, and POST that reads the body first;
    what is included by the server (`ssi`) has no length, so it goes out in chunks.

    `return 200` alone would answer before the body has arrived, which proxies treat in different ways; `mirror`
    reads it whole, and the 405 of the static handler then becomes a small 200.
    """
    listens = "\n".join(f"        listen 127.0.0.1:{port} backlog=4096;" for port in ports)
    return f"""{_nginx_main(directory)}
http {{{_nginx_http(directory)}
    sendfile on;
    tcp_nopush on;
    open_file_cache max=16;
    server {{
{listens}
        root {directory};
        location /r {{ try_files /1k =404; }}
        location = /post {{ mirror /nowhere; error_page 405 =200 /small; }}
        location = /nowhere {{ internal; return 204; }}
        location = /chunked {{ mirror /nowhere; error_page 405 =200 /unknown-length; }}
        location = /unknown-length {{ internal; ssi on; ssi_types *; alias {directory}/1k; }}
    }}
}}
"""


# 16 buffers of 16 KiB (default: 8 of 4 KiB) and no spooling to files: of those tried the cheapest for 1 MiB, at about
# a third of the default's cost.
_NGINX_BUFFERS = """
        proxy_buffer_size 16k;
        proxy_buffers 16 16k;
        proxy_max_temp_file_size 0;
"""
# A buffer that holds a 16 KiB body with its head (default 16 KiB), and a splice(2) from socket to socket for what does
# not fit: together less than half of the default's cost for 1 MiB.
_HAPROXY_BUFFERS = ("tune.bufsize 32768", "option splice-response")


def nginx(site: Site) -> str:
    """nginx with buffers chosen for these works."""
    return _nginx(site, _NGINX_BUFFERS)


def nginx_stock(site: Site) -> str:
    """nginx with the buffers it has by default."""
    return _nginx(site, "")


def _nginx(site: Site, buffers: str) -> str:
    servers = "\n".join(f"        server 127.0.0.1:{port};" for port in site.origins)
    reuse_port = "reuseport " if site.workers > 1 else ""  # otherwise the first worker that wakes takes most
    routes = "\n".join(f"        location {prefix} {{ proxy_pass http://origin; }}" for prefix in site.routes)
    log, limit = (full.nginx_http(site.directory), full.NGINX_SERVER) if site.is_full else ("access_log off;", "")
    # As nginx's documentation has it for WebSockets, but that nothing else comes here, so that no map is needed.
    connection = '"upgrade"; proxy_set_header Upgrade $http_upgrade' if site.has_websockets else '""'
    return f"""{_nginx_main(site.directory, site.workers)}
http {{{_nginx_http(site.directory, log)}
    upstream origin {{
        {"zone origin 256k;" if site.zone else ""}
        least_conn;
{servers}
        keepalive 1024;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{site.port} {reuse_port}backlog=4096;
        proxy_http_version 1.1;
        proxy_set_header Connection {connection};
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
{buffers}{limit}
{routes}
    }}
}}
"""


def haproxy(site: Site) -> str:
    """HAProxy with buffers chosen for these works."""
    return _haproxy(site, *_HAPROXY_BUFFERS)


def haproxy_stock(site: Site) -> str:
    """HAProxy with the buffers it has by default."""
    return _haproxy(site, "", "")


def _haproxy(site: Site, buffers: str, splicing: str) -> str:
    """Several routes go through a prefix map, HAProxy's idiom for many paths; ACLs would be scanned in order."""
    servers = "\n".join(f"    server o{i} 127.0.0.1:{port}" for i, port in enumerate(site.origins))
    many = f"use_backend %[path,map_beg({site.directory}/routes.map)]"
    return f"""
global
    nbthread {site.workers}
    {buffers}
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option forwardfor
    option http-keep-alive
    http-reuse always
    {splicing}
frontend web
    bind 127.0.0.1:{site.port}
    {full.HAPROXY_FRONTEND if site.is_full else ""}
    {"default_backend origin" if site.routes == ("/",) else many}
backend origin
    balance leastconn
{servers}
"""


def haproxy_map(site: Site) -> str:
    """The prefix map that `haproxy` names: one route a line."""
    return "".join(f"{prefix} origin\n" for prefix in site.routes)


def shardproxy(site: Site) -> str:
    """shardproxy, with every default feature on. A short drain so that the benchmark ends quickly."""
    document = _shardproxy(site)
    if site.is_full:
        full.complete_shardproxy(document, site.directory)
    return yaml.safe_dump(document, sort_keys=False)


def shardproxy_limit(site: Site) -> str:
    """The same with a rate limit for all requests that is never hit: what asking it costs."""
    return _limited(site, {})


def shardproxy_keyed(site: Site) -> str:
    """The same with one for each client address."""
    return _limited(site, {"key": "client_ip"})


def shardproxy_workers(site: Site) -> str:
    """The same with four workers, for which the cells of each count are four."""
    return yaml.safe_dump(_shardproxy(replace(site, workers=4)), sort_keys=False)


def _limited(site: Site, key: dict[str, str]) -> str:
    document = _shardproxy(site)
    full.limit_shardproxy(document, key)
    return yaml.safe_dump(document, sort_keys=False)


def _shardproxy(site: Site) -> dict[str, Any]:
    upgrade = {"upgrade": ["websocket"]} if site.has_websockets else {}
    return {
        "workers": site.workers,
        "admin": {"bind": f"127.0.0.1:{site.admin_port}"},
        "drain_timeout": "1s",
        "log": {"level": "warning"},
        "listeners": [
            {
                "bind": f"127.0.0.1:{site.port}",
                "routes": [{"match": {"prefix": prefix}, "cluster": "origin", **upgrade} for prefix in site.routes],
            }
        ],
        "clusters": [
            {
                "name": "origin",
                "balance": "least_connection",
                "endpoints": [f"127.0.0.1:{port}" for port in site.origins],
            }
        ],
    }


def _typed(name: str, **fields: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/envoy.extensions.filters.{name}", **fields}


def _socket(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _envoy_manager(site: Site) -> dict[str, Any]:
    routes = [{"match": {"prefix": prefix}, "route": {"cluster": "origin"}} for prefix in site.routes]
    router = {"name": "envoy.filters.http.router", "typed_config": _typed("http.router.v3.Router")}
    return _typed(
        "network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="web",
        codec_type="HTTP1",  # AUTO would look at the first bytes of each connection
        use_remote_address=True,  # this is what makes Envoy add X-Forwarded-For
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        http_filters=[*(full.ENVOY_FILTERS if site.is_full else []), router],
        upgrade_configs=[{"upgrade_type": "websocket"}] if site.has_websockets else [],
        access_log=full.envoy_logs(site.directory) if site.is_full else [],
    )


def _envoy_cluster(site: Site) -> dict[str, Any]:
    endpoints = [{"endpoint": {"address": _socket(port)}} for port in site.origins]
    return {
        "name": "origin",
        "type": "STATIC",
        "connect_timeout": "5s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {"cluster_name": "origin", "endpoints": [{"lb_endpoints": endpoints}]},
    }


def envoy(site: Site) -> str:
    """Envoy. Its file is YAML, of which JSON is a part."""
    manager = {"name": "envoy.filters.network.http_connection_manager", "typed_config": _envoy_manager(site)}
    listener = {"name": "web", "address": _socket(site.port), "filter_chains": [{"filters": [manager]}]}
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [_envoy_cluster(site)]}}, indent=1)
