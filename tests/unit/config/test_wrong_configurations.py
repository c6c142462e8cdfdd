"""Every way we know to get a configuration wrong, with the line it names and the sentence it gives."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from shardproxy.config.errors import ConfigErrors
from shardproxy.config.load import parse

GOOD = """\
listeners:
  - bind: 127.0.0.1:8080
    routes:
      - {match: {prefix: /}, cluster: app}
clusters:
  - name: app
    endpoints: [127.0.0.1:9001, 127.0.0.1:9002]
rate_limits:
  - {name: few, rate: 5/s}
"""
ENVIRON = {"LEVEL": "loud", "EMPTY": "", "BELL": "\a"}

TOP_KEYS = (
    "listeners, clusters, rate_limits, bandwidth_limits, workers, zone, admin, drain_timeout, drain_delay, "
    "restart_timeout, max_generations, watchdog, steering, cpu_affinity, max_worker_rss, user, pid_file, overload, "
    "log"
)


class Wrong(NamedTuple):
    """`old` replaced by `new` in `GOOD` gives `errors`, without the file's name."""

    case: str
    old: str
    new: str
    errors: str


BEFORE_ROUTES = "    routes:\n"
ROUTE = "      - {match: {prefix: /}, cluster: app}\n"
ENDPOINTS = "[127.0.0.1:9001, 127.0.0.1:9002]"
END = "  - {name: few, rate: 5/s}\n"

KEYS = [
    Wrong("unknown key", END, END + "worker: 4\n", "10: worker: there is no such key; did you mean 'workers'?"),
    Wrong("unknown key of a group", "cluster: app", "cluster: app, timeuot: 5s",
          "4: listeners[0].routes[0].timeuot: there is no such key; did you mean 'timeout'?"),
    Wrong("unknown key like none", END, END + "log: {colour: red}\n",
          "10: log.colour: there is no such key; known here: format, level"),
    Wrong("key that is no word", END, END + "? [a]\n: b\n",
          "10: a key must be a word, not a list or a mapping (a value with braces needs quotes)"),
    Wrong("merge key", END, END + "<<: {workers: 2}\n",
          f"10: '<<': there is no such key; known here: {TOP_KEYS}"),
    Wrong("key twice", END, END + "workers: 1\nworkers: 2\n", "11: workers: is there twice, first in line 10"),
    Wrong("key missing", "    endpoints: " + ENDPOINTS + "\n", "",
          "6: clusters[0]: needs endpoints, endpoints_file or dns"),
    Wrong("sections missing", GOOD, "workers: 2\n", "1: listeners: is missing\n1: clusters: is missing"),
    Wrong("no network", BEFORE_ROUTES, "    trusted_proxies: [10.0.0.256]\n" + BEFORE_ROUTES,
          "3: listeners[0].trusted_proxies[0]: '10.0.0.256' is not a network; "
          "write 10.0.0.0/8, 192.0.2.1 or 2001:db8::/32"),
    Wrong("network with bits too many", BEFORE_ROUTES, "    trusted_proxies: [10.0.0.1/8]\n" + BEFORE_ROUTES,
          "3: listeners[0].trusted_proxies[0]: '10.0.0.1/8' has bits behind its prefix; the network is 10.0.0.0/8"),
    Wrong("no number of proxies", BEFORE_ROUTES, "    trusted_proxies: 0\n" + BEFORE_ROUTES,
          "3: listeners[0].trusted_proxies: must be at least 1, not 0"),
    Wrong("key of a later version", BEFORE_ROUTES, "    tls: {}\n" + BEFORE_ROUTES,
          "3: listeners[0].tls: is not supported by this version; leave it out"),
    Wrong("a key of a later version", ENDPOINTS, ENDPOINTS + "\n    tls: {}",
          "8: clusters[0].tls: is not supported by this version; leave it out"),
    Wrong("endpoints and a name for them", ENDPOINTS, ENDPOINTS + "\n    dns: dns://app:80",
          "8: clusters[0].dns: endpoints says what the endpoints are already; leave one out"),
    Wrong("a name without a port", ENDPOINTS, "dns://app",
          "7: clusters[0].dns: 'dns://app' is no name to look up; "
          "write dns://app.internal:8080 or dns+srv://_http._tcp.app"),
    Wrong("a name that cannot be", ENDPOINTS, "dns://a..b:80",
          "7: clusters[0].dns: 'dns://a..b:80' has a name that DNS does not allow"),
    Wrong("bounds of TTL in the wrong order", "endpoints: " + ENDPOINTS, "dns: {name: dns://app:80, min_ttl: 2m}",
          "7: clusters[0].dns.max_ttl: must not be less than min_ttl"),
    Wrong("retries after nothing", "cluster: app", "cluster: app, retry: {attempts: 2}",
          "4: listeners[0].routes[0].retry.on: is missing"),
    Wrong("retries after an unknown word", "cluster: app", "cluster: app, retry: {on: [4xx]}",
          "4: listeners[0].routes[0].retry.on[0]: "
          "'4xx' is not 5xx, connect-failure, gateway-error, refused, reset, retriable-headers or retriable-status; "
          "did you mean '5xx'?"),
    Wrong("retriable statuses that are not named", "cluster: app", "cluster: app, retry: {on: [retriable-status]}",
          "4: listeners[0].routes[0].retry: retriable-status needs statuses, such as statuses: [409]"),
    Wrong("retriable statuses that are not used", "cluster: app", "cluster: app, retry: {on: [5xx], statuses: [409]}",
          "4: listeners[0].routes[0].retry.statuses: are used only if on has retriable-status"),
    Wrong("a back-off that shrinks", "cluster: app", "cluster: app, retry: {on: [5xx], backoff: {base: 1s, max: 20ms}}",
          "4: listeners[0].routes[0].retry.backoff.max: must not be less than base"),
    Wrong("a reason to retry twice", "cluster: app", "cluster: app, retry: {on: [5xx, 5xx]}",
          "4: listeners[0].routes[0].retry.on[1]: the condition '5xx' is in this list twice"),
    Wrong("a retry budget above all", ENDPOINTS, ENDPOINTS + "\n    retry_budget: {percent: 120}",
          "8: clusters[0].retry_budget.percent: must be at most 100, not 120"),
    Wrong("key of nothing", "rate: 5/s", "rate: 5/s, key: {ipv4_prefix: 24}",
          "9: rate_limits[0].key: needs client_ip, or header, cookie, query or path"),
    Wrong("key of an unknown kind", "rate: 5/s", "rate: 5/s, key: client",
          "9: rate_limits[0].key: 'client' is not client_ip; did you mean 'client_ip'?"),
    Wrong("keyed rate too high", "rate: 5/s", "rate: 600000/s, key: client_ip",
          "9: rate_limits[0].rate: of each key at most 500000/s"),
    Wrong("keyed burst too high", "rate: 5/s", "rate: 5/s, burst: 20000000, key: client_ip",
          "9: rate_limits[0].burst: of each key at most 16777216"),
    Wrong("overrides without a key", "rate: 5/s", "rate: 5/s, overrides: [{key: a, rate: 1/s}]",
          "9: rate_limits[0].overrides: are for limits with a key"),
    Wrong("overrides of several parts", "rate: 5/s",
          "rate: 5/s, key: {address: client_ip, header: A}, overrides: [{key: a, rate: 1/s}]",
          "9: rate_limits[0].overrides: are for keys of one part"),
    Wrong("override twice", "rate: 5/s",
          "rate: 5/s, key: {header: A}, overrides: [{key: a, rate: 1/s}, {key: a, rate: 2/s}]",
          "9: rate_limits[0].overrides[1]: the key 'a' is in this list twice"),
    Wrong("override of no address", "rate: 5/s", "rate: 5/s, key: client_ip, overrides: [{key: a, rate: 1/s}]",
          "9: rate_limits[0].overrides[0].key: 'a' is not an IP address"),
    Wrong("override that never fills", "rate: 5/s",
          "rate: 5/s, key: {header: A}, overrides: [{key: a, rate: 1/h, burst: 100000}]",
          "9: rate_limits[0].overrides[0].burst: at this rate the burst would take longer than a year to fill"),
    Wrong("cost above the burst", "rate: 5/s", "rate: 5/s, cost: 6",
          "9: rate_limits[0].cost: is above the burst of 5, so such a request could never be admitted"),
    Wrong("store with a password", "rate: 5/s", "rate: 50/s, store: 'redis://:secret@host:6379'",
          "9: rate_limits[0].store: 'redis://:secret@host:6379' is not a store; "
          "write redis://HOST:PORT or redis://HOST:PORT/DATABASE"),
    Wrong("store without a port", "rate: 5/s", "rate: 50/s, store: 'redis://host'",
          "9: rate_limits[0].store: 'redis://host' is not a store; "
          "write redis://HOST:PORT or redis://HOST:PORT/DATABASE"),
    Wrong("first without room", ENDPOINTS, ENDPOINTS + "\n    balance: first",
          "8: clusters[0].balance: "
          "first needs max_requests for every endpoint but the last, or those after it get nothing"),
    Wrong("a bound of hashes without hashes", ENDPOINTS, ENDPOINTS + "\n    hash_balance_factor: 125",
          "8: clusters[0].hash_balance_factor: is used only if balance is ring_hash or maglev"),
    Wrong("a slow start by chance", ENDPOINTS, ENDPOINTS + "\n    balance: random\n    slow_start: {}",
          "9: clusters[0].slow_start: is used only if balance is least_connection, round_robin or peak_ewma"),
    Wrong("a hash that nobody uses", "cluster: app", "cluster: app, hash: [{client: true}]",
          "4: listeners[0].routes[0].hash: is used only if the cluster's balance is ring_hash or maglev"),
    Wrong("a queue before a cluster that is never full", ENDPOINTS, ENDPOINTS + "\n    queue: {}",
          "8: clusters[0].queue: nobody ever waits: no max_requests, no max_connections, nothing adaptive"),
    Wrong("a queue for nobody", ENDPOINTS, ENDPOINTS + "\n    queue: {max: 0}",
          "8: clusters[0].queue.max: must be at least 1, not 0"),
    Wrong("a class that there is not", "cluster: app", "cluster: app, priority: urgent",
          "4: listeners[0].routes[0].priority: 'urgent' is not high, low or normal"),
]  # fmt: skip

VALUES = [
    Wrong("no duration", "cluster: app", "cluster: app, timeout: 15",
          "4: listeners[0].routes[0].timeout: '15' is not a duration; "
          "write a number and ms, s, m or h, such as 250ms or 15s"),
    Wrong("duration too long", END, END + "drain_timeout: 9000h\n", "10: drain_timeout: '9000h' is longer than a year"),
    Wrong("duration below its bound", END, END + "watchdog: 10ms\n", "10: watchdog: must be at least 1s, not 10ms"),
    Wrong("timeout of nothing", "cluster: app", "cluster: app, timeout: 0s",
          "4: listeners[0].routes[0].timeout: must be at least 1ms, not 0ms"),
    Wrong("no size", BEFORE_ROUTES, "    max_body: 64K\n" + BEFORE_ROUTES,
          "3: listeners[0].max_body: '64K' is not a size; write a number and B, KiB, MiB or GiB, such as 64KiB"),
    Wrong("size above its bound", BEFORE_ROUTES, "    max_head: 2MiB\n" + BEFORE_ROUTES,
          "3: listeners[0].max_head: must be at most 1MiB, not 2MiB"),
    Wrong("no rate", "rate: 5/s", "rate: 5",
          "9: rate_limits[0].rate: '5' is not a rate; write a number above 0 and /s, /m or /h, such as 1000/s"),
    Wrong("rate of nothing", "rate: 5/s", "rate: 0/s",
          "9: rate_limits[0].rate: '0/s' is not a rate; write a number above 0 and /s, /m or /h, such as 1000/s"),
    Wrong("rate beyond measure", "rate: 5/s", "rate: 9999999999/s",
          "9: rate_limits[0].rate: '9999999999/s' is not a rate between 0.000001/s and 1000000000/s"),
    Wrong("burst of nothing", "rate: 5/s", "rate: 5/s, burst: 0",
          "9: rate_limits[0].burst: must be at least 1, not 0"),
    Wrong("burst that never fills", "rate: 5/s", "rate: 1/h, burst: 10000",
          "9: rate_limits[0].burst: at this rate the burst would take longer than a year to fill"),
    Wrong("host name as address", "127.0.0.1:8080", "localhost:8080",
          "2: listeners[0].bind: 'localhost:8080' does not begin with an IP address (IPv6 in brackets)"),
    Wrong("address without a port", "127.0.0.1:8080", "127.0.0.1",
          "2: listeners[0].bind: '127.0.0.1' is not an address; write 127.0.0.1:8080, [::1]:8080 or unix:/path"),
    Wrong("port out of range", "127.0.0.1:9002", "127.0.0.1:70000",
          "7: clusters[0].endpoints[1]: '127.0.0.1:70000' needs a port from 1 to 65535 after the last colon"),
    Wrong("relative socket path", "127.0.0.1:9002", "unix:app.sock",
          "7: clusters[0].endpoints[1]: 'unix:app.sock' needs an absolute path, such as unix:/run/app.sock"),
    Wrong("socket path with a NUL", "127.0.0.1:9002", '"unix:/a\\0b"',
          "7: clusters[0].endpoints[1]: 'unix:/a\\x00b' has characters in its path that are not printable"),
    Wrong("priorities that nobody looks after", ENDPOINTS, "[127.0.0.1:1, {address: 127.0.0.1:2, priority: 1}]",
          "7: clusters[0].endpoints: nobody sees when priority 0 is ill; add health_check or outlier_detection"),
    Wrong("no status", ENDPOINTS, ENDPOINTS + "\n    health_check: {expected: [2xx]}",
          "8: clusters[0].health_check.expected[0]: '2xx' is not a status or a range of them; write 200 or 200-299"),
    Wrong("range from high to low", ENDPOINTS, ENDPOINTS + "\n    health_check: {expected: [299-200]}",
          "8: clusters[0].health_check.expected[0]: '299-200' is not a status or a range of them; "
          "write 200 or 200-299"),
    Wrong("text that is none", ENDPOINTS, ENDPOINTS + '\n    health_check: {body: "a\\tb"}',
          "8: clusters[0].health_check.body: this needs printable text of at most 1024 characters"),
    Wrong("checks without a pause", ENDPOINTS, ENDPOINTS + "\n    health_check: {interval: 1ms}",
          "8: clusters[0].health_check.interval: must be at least 10ms, not 1ms"),
    Wrong("failures of nobody", ENDPOINTS, ENDPOINTS + "\n    outlier_detection: {failure_percentage: 0}",
          "8: clusters[0].outlier_detection.failure_percentage: must be at least 1, not 0"),
    Wrong("less than no failure in a row", ENDPOINTS, ENDPOINTS + "\n    outlier_detection: {consecutive_5xx: -1}",
          "8: clusters[0].outlier_detection.consecutive_5xx: must be at least 0, not -1"),
    Wrong("more than all endpoints", ENDPOINTS, ENDPOINTS + "\n    panic_threshold: 101",
          "8: clusters[0].panic_threshold: must be at most 100, not 101"),
    Wrong("weight too small", "127.0.0.1:9002", "{address: 127.0.0.1:9002, weight: 0}",
          "7: clusters[0].endpoints[1].weight: must be at least 1, not 0"),
    Wrong("weight too large", "127.0.0.1:9002", "{address: 127.0.0.1:9002, weight: 1001}",
          "7: clusters[0].endpoints[1].weight: must be at most 1000, not 1001"),
    Wrong("no requests at all", ENDPOINTS, ENDPOINTS + "\n    max_requests: 0",
          "8: clusters[0].max_requests: must be at least 1, not 0"),
    Wrong("no whole number", BEFORE_ROUTES, "    max_connections: lots\n" + BEFORE_ROUTES,
          "3: listeners[0].max_connections: 'lots' is not a whole number"),
    Wrong("octal or not", END, END + "workers: 010\n", "10: workers: '010' is not a whole number or auto"),
    Wrong("number beyond measure", END, END + f"workers: {10**30}\n",
          f"10: workers: '{10**30}' is out of all proportion"),
    Wrong("no such choice", END, END + "log: {level: wanring}\n",
          "10: log.level: 'wanring' is not debug, error, info or warning; did you mean 'warning'?"),
    Wrong("prefix without a slash", "prefix: /", "prefix: api",
          "4: listeners[0].routes[0].match.prefix: 'api' does not begin with '/'"),
    Wrong("path with a query", "prefix: /", "path: '/a?b=c'",
          "4: listeners[0].routes[0].match.path: '/a?b=c' has a character that no path of a request has; "
          "percent-encode it, such as %20"),
    Wrong("host with a port", "prefix: /", "hosts: ['a.example:80'], prefix: /",
          "4: listeners[0].routes[0].match.hosts[0]: 'a.example:80' is not a host; "
          "write api.example.com or *.example.com, without a port"),
    Wrong("star within a host", "prefix: /", "hosts: [a.*.example], prefix: /",
          "4: listeners[0].routes[0].match.hosts[0]: 'a.*.example' is not a host; "
          "write api.example.com or *.example.com, without a port"),
    Wrong("no name", "name: app", "name: my app",
          "6: clusters[0].name: 'my app' is not a name; "
          "use letters, digits, '_', '.' and '-', a letter or digit first"),
    Wrong("no token", BEFORE_ROUTES, "    via: a b\n" + BEFORE_ROUTES,
          "3: listeners[0].via: 'a b' cannot stand in a header field; "
          "write one word of letters, digits, '-', '.' and '_'"),
    Wrong("no protocol", "cluster: app", "cluster: app, upgrade: [web socket]",
          "4: listeners[0].routes[0].upgrade[0]: 'web socket' is not the name of a protocol; "
          "write one word such as websocket"),
    Wrong("protocol that would carry requests past the routes", "cluster: app", "cluster: app, upgrade: [h2c]",
          "4: listeners[0].routes[0].upgrade[0]: 'h2c' would let clients send requests past every route and limit; "
          "leave it out"),
    Wrong("neither true nor false", BEFORE_ROUTES, "    merge_slashes: yes\n" + BEFORE_ROUTES,
          "3: listeners[0].merge_slashes: 'yes' is not true or false"),
    Wrong("list for true or false", BEFORE_ROUTES, "    merge_slashes: [true]\n" + BEFORE_ROUTES,
          "3: listeners[0].merge_slashes: found a list; this needs true or false"),
    Wrong("text without end", "prefix: /", f"prefix: /{'x' * 5000}",
          "4: listeners[0].routes[0].match.prefix: a value has at most 4096 characters, this one has 5001"),
]  # fmt: skip

SHAPES = [
    Wrong("word for a list", ENDPOINTS, "127.0.0.1:9001",
          "7: clusters[0].endpoints: found the word '127.0.0.1:9001'; "
          "this needs a list, each item behind '- ' or all in [ ]"),
    Wrong("keys for a list", "\n  - name: app\n    endpoints", "\n    name: app\n    endpoints",
          "6: clusters: found keys and values; this needs a list, each item behind '- ' or all in [ ]"),
    Wrong("empty list", ENDPOINTS, "[]", "7: clusters[0].endpoints: the list is empty; it needs at least one item"),
    Wrong("list for a word", "name: app", "name: [app]",
          "6: clusters[0].name: found a list; this needs a name such as app"),
    Wrong("keys for a word", "name: app", "name: {a: b}",
          "6: clusters[0].name: found keys and values; this needs a name such as app"),
    Wrong("word for keys", "{prefix: /}", "/",
          "4: listeners[0].routes[0].match: found the word '/'; this needs keys and values "
          "(hosts, prefix, path, path_prefix, template, regex, methods, headers, query, cookies, networks, share)"),
    Wrong("empty value", END, END + "drain_timeout:\n",
          "10: drain_timeout: is empty; this needs a duration such as 250ms"),
    Wrong("empty file", GOOD, "# nothing\n",
          "1: (file): is empty; this needs keys and values "
          f"({TOP_KEYS})"),
    Wrong("list for a file", GOOD, "[]\n",
          "1: (file): found a list; this needs keys and values "
          f"({TOP_KEYS})"),
]  # fmt: skip

YAML = [
    Wrong("tab", "    endpoints", "\tendpoints",
          "7: this is not YAML: the line is indented with a tab; use spaces"),
    Wrong("bracket left open", ENDPOINTS, "[127.0.0.1:9001",
          "8: this is not YAML: did not find expected ',' or ']' while parsing a flow sequence"),
    Wrong("value in a value", "name: app", "name: app: b",
          "6: this is not YAML: mapping values are not allowed in this context"),
    Wrong("anchor", "name: app", "name: &a app",
          "6: the anchor '&a' is not supported; write the value out where it is used"),
    Wrong("alias", ENDPOINTS, "*a", "7: the alias '*a' is not supported; write the value out"),
    Wrong("tag", "name: app", "name: !!str app",
          "6: the tag 'tag:yaml.org,2002:str' is not supported; leave it out"),
    Wrong("second document", END, END + "---\nworkers: 2\n", "10: a second document begins here; the file holds one"),
    Wrong("depth", ENDPOINTS, "[" * 40 + "]" * 40, "7: lists and keys are nested more than 32 deep"),
    Wrong("line separator", "name: app", "name: 'a\u2028pp'",
          "6: the character U+2028 ends a line for YAML but not for editors; leave it out"),
    Wrong("control character", "name: app", "name: a\0pp",
          "6: a control character cannot stand in YAML; write it as an escape in double quotes"),
]  # fmt: skip

ENVIRONMENT = [
    Wrong("variable not set", END, END + "workers: ${WORKERS}\n",
          "10: workers: the environment variable WORKERS is not set; set it or write ${WORKERS:-default}"),
    Wrong("variable wrong", END, END + "log:\n  level: ${LEVEL}\n",
          "11: log.level: 'loud' is not debug, error, info or warning"),
    Wrong("variable empty", END, END + "workers: ${EMPTY}\n",
          "10: workers: is empty; this needs a whole number or auto"),
    Wrong("variable with a control character", END, END + "workers: ${BELL}\n",
          "10: workers: the environment variable BELL holds characters that are not printable text"),
    Wrong("default wrong", END, END + "workers: ${WORKERS:-many}\n",
          "10: workers: 'many' is not a whole number or auto"),
    Wrong("reference left open", END, END + "workers: ${WORKERS\n",
          "10: workers: '${' does not begin ${NAME} or ${NAME:-default}; write '$${' if it is meant as it stands"),
    Wrong("reference without quotes in braces", END, END + "log: {level: ${LEVEL}}\n",
          "10: this is not YAML: did not find expected ',' or '}' while parsing a flow mapping; "
          'inside { } and [ ] write "${NAME}" in quotes'),
]  # fmt: skip

CROSS_CHECKS = [
    Wrong("unknown cluster", "cluster: app", "cluster: ap",
          "4: listeners[0].routes[0].cluster: there is no cluster 'ap'; did you mean 'app'?"),
    Wrong("unknown cluster like none", "cluster: app", "cluster: web",
          "4: listeners[0].routes[0].cluster: there is no cluster 'web'; there is 'app'"),
    Wrong("unknown rate limit", "cluster: app", "cluster: app, rate_limits: [fwe]",
          "4: listeners[0].routes[0].rate_limits[0]: there is no rate limit 'fwe'; did you mean 'few'?"),
    Wrong("rate limit twice on a route", "cluster: app", "cluster: app, rate_limits: [few, few]",
          "4: listeners[0].routes[0].rate_limits[1]: the rate limit 'few' is in this list twice"),
    Wrong("clusters of one name", "    endpoints: " + ENDPOINTS, f"    endpoints: {ENDPOINTS}\n  - name: app\n"
          "    endpoints: [127.0.0.1:9003]",
          "8: clusters[1].name: clusters[0] is called 'app' too; give each cluster its own name"),
    Wrong("rate limits of one name", END, END + END,
          "10: rate_limits[1].name: rate_limits[0] is called 'few' too; give each rate limit its own name"),
    Wrong("listeners of one name", "  - bind: 127.0.0.1:8080\n", "  - {name: a, bind: 127.0.0.1:8080, routes: "
          "[{match: {prefix: /}, cluster: app}]}\n  - name: a\n    bind: 127.0.0.1:8081\n",
          "3: listeners[1].name: listeners[0] is called 'a' too; give each listener its own name"),
    Wrong("endpoint twice", "127.0.0.1:9002", "{address: 127.0.0.1:9001, weight: 2}",
          "7: clusters[0].endpoints[1]: the endpoint '127.0.0.1:9001' is in this list twice"),
    Wrong("two listeners on one address", "  - bind: 127.0.0.1:8080\n", "  - {name: a, bind: 127.0.0.1:8080, routes: "
          "[{match: {prefix: /}, cluster: app}]}\n  - name: b\n    bind: 0.0.0.0:8080\n",
          "4: listeners[1].bind: 0.0.0.0:8080 is taken already by listeners[0] at 127.0.0.1:8080"),
    Wrong("listener on the admin interface's address", "127.0.0.1:8080", "127.0.0.1:9901",
          "2: listeners[0].bind: 127.0.0.1:9901 is taken already by the admin interface"),
    Wrong("neither prefix nor path", "{prefix: /}", "{hosts: [a.example]}",
          "4: listeners[0].routes[0].match: needs prefix or path, such as prefix: /"),
    Wrong("prefix and path", "{prefix: /}", "{prefix: /, path: /a}",
          "4: listeners[0].routes[0].match: has both prefix and path; leave one of them out"),
    Wrong("host twice", "prefix: /", "hosts: [a.example, A.example], prefix: /",
          "4: listeners[0].routes[0].match.hosts[1]: the host 'a.example' is in this list twice"),
    Wrong("route like an earlier one", ROUTE, ROUTE + ROUTE,
          "5: listeners[0].routes[1].match: can never win: all that it matches goes to routes[0] before it"),
    Wrong("route behind a shorter prefix", ROUTE, ROUTE + ROUTE.replace("prefix: /", "path: /favicon.ico"),
          "5: listeners[0].routes[1].match: can never win: all that it matches goes to routes[0] before it"),
    Wrong("route whose hosts are all taken", ROUTE, ROUTE.replace("prefix: /", "hosts: [a.x], prefix: /")
          + ROUTE.replace("prefix: /", "hosts: [b.x], prefix: /")
          + ROUTE.replace("prefix: /", "hosts: [a.x, b.x], prefix: /v1/"),
          "6: listeners[0].routes[2].match: "
          "can never win: all that it matches goes to routes[0] and routes[1] before it"),
    Wrong("body of a check that only connects", ENDPOINTS, ENDPOINTS + "\n    health_check: {type: tcp, body: ok}",
          "8: clusters[0].health_check.body: a check of type tcp only connects; leave it out, or write type: http"),
    Wrong("check without the header that the endpoint expects", ENDPOINTS,
          ENDPOINTS + "\n    proxy_protocol: v2\n    health_check: {path: /}",
          "9: clusters[0].health_check.type: http checks send no PROXY protocol header; "
          "write type: tcp, or a port that expects none"),
    Wrong("port of a Unix socket", "127.0.0.1:9002]", "unix:/run/a]\n    health_check: {port: 80}",
          "8: clusters[0].health_check.port: an endpoint of this cluster is a Unix socket, which has no port"),
    Wrong("adaptive start out of bounds", ENDPOINTS, ENDPOINTS + "\n    adaptive: {min: 30}",
          "8: clusters[0].adaptive.start: must be from min (30) to max (1000)"),
    Wrong("aimd without a latency", ENDPOINTS, ENDPOINTS + "\n    adaptive: {policy: aimd}",
          "8: clusters[0].adaptive: aimd needs latency, such as latency: 200ms"),
    Wrong("three ways to match a path", "{prefix: /}", "{prefix: /, path_prefix: /, regex: /}",
          "4: listeners[0].routes[0].match: has both prefix and path_prefix; leave one of them out"),
    Wrong("no pattern", "{prefix: /}", "{regex: '/(a'}",
          "4: listeners[0].routes[0].match.regex: '/(a' is not a pattern: missing ): /(a"),
    Wrong("braces within a segment", "{prefix: /}", "{template: '/a{id}'}",
          "4: listeners[0].routes[0].match.template: '/a{id}' needs braces around whole segments: /users/{id}"),
    Wrong("name twice in a template", "{prefix: /}", "{template: '/{a}/{a}'}",
          "4: listeners[0].routes[0].match.template: {a} is there twice; give each its own name"),
    Wrong("value with two tests", "{prefix: /}", "{prefix: /, headers: [{name: A, exact: b, regex: c}]}",
          "4: listeners[0].routes[0].match.headers[0]: has both exact and regex; write it twice, with one each"),
    Wrong("no share", "{prefix: /}", "{prefix: /, share: 5}",
          "4: listeners[0].routes[0].match.share: '5' is not a share; write 5% or 0.5%"),
    Wrong("too large a share", "{prefix: /}", "{prefix: /, share: 101%}",
          "4: listeners[0].routes[0].match.share: a share is more than 0% and at most 100%"),
    Wrong("share by two things", "{prefix: /}", "{prefix: /, share: {of: 1%, header: A, cookie: b}}",
          "4: listeners[0].routes[0].match.share: has both header and cookie; leave one of them out"),
    Wrong("same path prefix twice", ROUTE, ROUTE.replace("prefix: /", "path_prefix: /a")
          + ROUTE.replace("prefix: /", "path_prefix: /a/"),
          "5: listeners[0].routes[1].match: can never win: all that it matches goes to routes[0] before it"),
    Wrong("route that does nothing", "cluster: app}", "timeout: 5s}",
          "4: listeners[0].routes[0]: needs cluster, clusters, redirect or response"),
    Wrong("field that the proxy writes", "cluster: app}", "cluster: app, request_headers: {remove: [Host]}}",
          "4: listeners[0].routes[0].request_headers.remove[0]: Host is written by the proxy itself"),
    Wrong("unknown variable", "cluster: app}",
          "cluster: app, response_headers: {add: [{name: A, value: '{user}'}]}}",
          "4: listeners[0].routes[0].response_headers.add[0].value: there is no {user}; there are {client_ip}, "
          "{request_id}, {host}, {path}, {method}, {scheme}, {cluster}, {status}"),
    Wrong("protocol twice on a route", "cluster: app", "cluster: app, upgrade: [websocket, WebSocket]",
          "4: listeners[0].routes[0].upgrade[1]: the protocol 'websocket' is in this list twice"),
]  # fmt: skip

ALL = [*KEYS, *VALUES, *SHAPES, *YAML, *ENVIRONMENT, *CROSS_CHECKS]


def errors_of(text: str) -> str:
    with pytest.raises(ConfigErrors) as caught:
        parse(text, "x.yaml", ENVIRON)
    return "\n".join(line.removeprefix("x.yaml:") for line in str(caught.value).splitlines())


@pytest.mark.parametrize("wrong", ALL, ids=[wrong.case for wrong in ALL])
def test_a_wrong_configuration_gives_its_line_and_a_sentence(wrong: Wrong) -> None:
    assert wrong.old in GOOD
    assert errors_of(GOOD.replace(wrong.old, wrong.new)) == wrong.errors


def test_every_case_differs_from_the_others() -> None:
    assert len({wrong.case for wrong in ALL}) == len(ALL) > 30


def test_what_the_cases_are_made_from_is_right() -> None:
    assert parse(GOOD, "x.yaml", ENVIRON).rate_limits[0].rate == 5
