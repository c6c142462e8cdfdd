"""The ready configuration of the demo, as the file that a user would write."""

from __future__ import annotations

from collections.abc import Sequence

LIMITED_PATH = "/limited"

_TEMPLATE = """\
# What `shardproxy demo` runs: three origins, one of them slow, behind one listener.
workers: {workers}
admin: {{bind: 127.0.0.1:{admin_port}}}
drain_timeout: 2s
log: {{level: warning}}

listeners:
  - name: web
    bind: 127.0.0.1:{port}
    routes:
      - {{match: {{prefix: {limited}}}, cluster: app, rate_limits: [few]}}
      - {{match: {{prefix: /}}, cluster: app}}

clusters:
  - name: app
    balance: least_connection
    endpoints: [{endpoints}]

rate_limits:
  - {{name: few, rate: 5/s, burst: 5}}   # one bucket over all workers
"""


def configuration(port: int, admin_port: int, workers: int, endpoints: Sequence[str]) -> str:
    """YAML for a proxy on `port` of the loopback in front of `endpoints` (`HOST:PORT` each)."""
    return _TEMPLATE.format(
        port=port, admin_port=admin_port, workers=workers, endpoints=", ".join(endpoints), limited=LIMITED_PATH
    )
